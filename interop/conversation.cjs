// Node's amqplib against a broker: everything that a participant in JavaScript does. Ends with 0, or says what was wrong.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const amqp = require("amqplib");

const [url, prefix] = process.argv.slice(2);

async function declared(channel) {
  await channel.assertExchange(`${prefix}.dead`, "fanout", { durable: true });
  await channel.assertExchange(`${prefix}.commands`, "direct", { durable: true });
  await channel.assertExchange(`${prefix}.lifecycle`, "topic", { durable: true });
  await channel.assertQueue(`${prefix}.dead`, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.assertQueue(`${prefix}.stock`, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 20,
      "x-dead-letter-exchange": `${prefix}.dead`,
    },
  });
  await channel.bindQueue(`${prefix}.dead`, `${prefix}.dead`, "");
  await channel.bindQueue(`${prefix}.stock`, `${prefix}.commands`, "stock");
}

// Deliveries one after another, as they come.
async function inbox(channel, queue, options) {
  const waiting = [];
  let wake = () => {};
  const { consumerTag } = await channel.consume(queue, (message) => { waiting.push(message); wake(); }, options);
  const next = async () => {
    while (waiting.length === 0) await new Promise((resolve) => { wake = resolve; });
    return waiting.shift();
  };
  return { next, waiting, consumerTag };
}

async function confirmed(channel) {
  for (let number = 0; number < 100; number += 1) {
    channel.publish(`${prefix}.commands`, "stock", Buffer.from(String(number)), {
      persistent: true,
      contentType: "application/json",
      messageId: `m-${number}`,
      headers: { "ce-id": `e-${number}`, attempt: 1 },
    });
  }
  await channel.waitForConfirms();
}

async function returned(channel) {
  const coming = once(channel, "return");
  channel.publish(`${prefix}.commands`, "nobody", Buffer.from("{}"), { mandatory: true });
  const [message] = await coming;
  assert.equal(message.fields.replyText, "NO_ROUTE");
  await channel.waitForConfirms();
}

async function consumed(channel) {
  await channel.prefetch(10);
  const { next, waiting, consumerTag } = await inbox(channel, `${prefix}.stock`);
  const first = await next();
  assert.equal(first.content.toString(), "0");
  assert.equal(first.properties.headers["ce-id"], "e-0");
  assert.equal(first.properties.messageId, "m-0");
  assert.equal(first.fields.redelivered, false);
  channel.nack(first, false, true);
  const held = [];
  while (held.length < 10) held.push(await next());
  assert.equal(waiting.length, 0, "no more than the prefetch is here");
  const again = held.find((message) => message.content.toString() === "0");
  assert.equal(again.fields.redelivered, true);
  channel.nack(again, false, false);
  for (const message of held) if (message !== again) channel.ack(message);
  for (let number = 11; number < 101; number += 1) channel.ack(await next());
  await channel.cancel(consumerTag);
}

async function deadLettered(channel) {
  const { next } = await inbox(channel, `${prefix}.dead`, { noAck: true });
  const dead = await next();
  assert.equal(dead.content.toString(), "0");
  assert.equal(dead.properties.headers["x-death"][0].reason, "rejected");
  assert.equal(dead.properties.headers["x-death"][0].queue, `${prefix}.stock`);
}

async function refusedPassword() {
  const wrong = new URL(url);
  wrong.password = "wrong";
  await assert.rejects(amqp.connect(wrong.href), /ACCESS.REFUSED|403/);
}

async function refusedDeclaration(connection) {
  const channel = await connection.createChannel();
  channel.on("error", () => {}); // It comes as a rejection too.
  await assert.rejects(channel.assertQueue(`${prefix}.stock`, { durable: true }), /PRECONDITION.FAILED/);
}

async function main() {
  const connection = await amqp.connect(`${url}?heartbeat=5`);
  connection.on("error", (error) => { throw error; }); // EPIPE at the end would come here.
  const channel = await connection.createConfirmChannel();
  await declared(channel);
  await confirmed(channel);
  await returned(channel);
  await consumed(channel);
  await deadLettered(channel);
  await refusedDeclaration(connection);
  await refusedPassword();
  const own = await channel.assertQueue("", { exclusive: true });
  channel.sendToQueue(own.queue, Buffer.from("mine"));
  const { next } = await inbox(channel, own.queue, { noAck: true });
  assert.equal((await next()).content.toString(), "mine");
  await channel.deleteQueue(`${prefix}.stock`);
  await channel.deleteQueue(`${prefix}.dead`);
  await channel.close();
  await connection.close();
  console.log("well");
}

main().catch((error) => { console.error(error); process.exit(1); });
