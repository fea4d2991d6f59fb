// A participant in JavaScript, written from docs/protocol.md alone; the rule numbers are that document's.
//     node participant.mjs amqp://… <prefix> <name>
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { crc32 } from "node:zlib";
import amqp from "amqplib";
import { Rejected, admitted } from "./barrier.mjs";

const [url, prefix, name] = process.argv.slice(2);
const own = `${prefix}.participant.${name}`;
const tell = (event, detail = {}) => console.log(JSON.stringify({ event, ...detail }));

// What it can do. An effect is a line on its standard output.
const stumbled = new Set(), lost = new Set(), paid = new Map();
const handlers = {
  pay: {
    do({ amount, stumbles, loses }, key) {
      if (amount > 100) throw new Rejected("insufficient_funds", "100 is all there is");
      if (stumbles && !stumbled.has(key)) {
        stumbled.add(key);
        throw new TypeError("not this time");
      }
      if (!paid.has(key)) tell("effect", { key, direction: "do" });
      paid.set(key, { payment: `p-${key}`, amount });
      if (loses && !lost.has(key)) {
        lost.add(key);
        throw new TypeError("nobody hears of it");
      }
      return paid.get(key);
    },
    undo(command, result, key) {
      paid.delete(key);
      tell("effect", { key, direction: "undo", result });
    },
    probe: (command, key) => paid.get(key) ?? null,
  },
};

// --- reading: C1, C2, L1

const NAME = /^[a-z][a-z0-9_]{0,63}$/, STEP = /^[a-z][a-z0-9_]{0,63}(\[(0|[1-9][0-9]{0,4})\]){0,3}$/, WHOLE = /^[0-9]{1,18}$/, TEXT = /^[^]+$/;
const NEEDED = {
  sagaprotocol: /^1$/, type: /^countermand\.command$/, sagaid: /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/, sagastep: STEP,
  sagaparticipant: /^[a-z][a-z0-9_-]{0,63}$/, sagadirection: /^(do|undo|probe)$/, sagaattempt: /^(?=.{1,18}$)0*[1-9][0-9]*$/,
  sagakey: TEXT, sagacommandid: TEXT, sagaversion: WHOLE, sagadef: TEXT, sagaaction: NAME, sagadeadline: WHOLE,
};
const REPEATED = ["id", "step", "participant", "direction", "attempt", "key", "commandid", "version"];

class Malformed extends Error {}
class OverLimit extends Malformed {}

function depth(text) {
  let deep = 0, deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|[[\]{}]/gs)) {
    if ("{[".includes(token)) deepest = Math.max(deepest, ++deep);
    else if ("}]".includes(token)) deep -= 1;
  }
  return deepest;
}

function read({ properties, content }) {
  const headers = properties.headers ?? {}, entries = Object.entries(headers);
  const size = entries.reduce((sum, [header, value]) => sum + header.length + (value?.length ?? 0), 0);
  if (entries.length > 64 || size > 16 * 1024) throw new OverLimit("headers: over the limit");
  for (const [attribute, form] of Object.entries(NEEDED)) {
    const value = headers[`ce-${attribute}`];
    if (value === undefined) throw new Malformed(`ce-${attribute}: missing`);
    const legible = typeof value === "string" || Number.isInteger(value);
    if (!legible || !form.test(String(value))) throw new Malformed(`ce-${attribute}: not valid`);
  }
  const type = (properties.contentType || "application/json").split(";")[0].trim();
  if (type !== "application/json") throw new Malformed("content_type: expected 'application/json'");
  if (headers["ce-sagaparticipant"] !== name) throw new Malformed("ce-sagaparticipant: is somebody else");
  const first = `${headers["ce-sagaid"]}/${headers["ce-sagastep"]}`, key = String(headers["ce-sagakey"]);
  const later = key.startsWith(first) && /^~[1-9][0-9]{0,8}$/.test(key.slice(first.length));
  if (key !== first && !later) throw new Malformed("ce-sagakey: isn't the key of this saga and step");
  const direction = headers["ce-sagadirection"], text = content.toString();
  const [bytesMax, depthMax] = direction === "undo" ? [2 * 256 * 1024 + 64, 33] : [256 * 1024, 32];
  if (content.length > bytesMax || depth(text) > depthMax) throw new OverLimit("body: over the limit");
  return { headers, key, direction, action: headers["ce-sagaaction"], deadline: Number(headers["ce-sagadeadline"]), text };
}

// --- on the broker

async function declare(channel) { // T1, T2
  const dead = `${prefix}.dead`;
  const quorum = { "x-queue-type": "quorum", "x-delivery-limit": 20, "x-dead-letter-exchange": dead };
  const queue = async (queueName, settings, exchange, key) => {
    await channel.assertQueue(queueName, { durable: true, arguments: settings });
    await channel.bindQueue(queueName, exchange, key);
  };
  for (const [exchange, type] of [["dead", "fanout"], ["commands", "direct"], ["inbox", "direct"], ["lifecycle", "topic"]]) {
    await channel.assertExchange(`${prefix}.${exchange}`, type, { durable: true });
  }
  await queue(dead, { "x-queue-type": "quorum", "x-delivery-limit": 1000000000 }, dead, "");
  for (const shard of ["0", "1", "2", "3"]) await queue(`${prefix}.inbox.${shard}`, quorum, `${prefix}.inbox`, shard);
  await queue(own, quorum, `${prefix}.commands`, name);
}

async function published(channel, exchange, key, body, options) { // M4, M5, O2
  for (;;) {
    const messageId = randomUUID(), properties = { ...options, messageId, persistent: true, mandatory: true };
    await new Promise((resolve, reject) => {
      channel.publish(exchange, key, Buffer.from(body), properties, (error) => (error ? reject(error) : resolve()));
    });
    if (!channel.returned.delete(messageId)) return;
    await declare(channel);
    await pause(200);
  }
}

function reply(channel, { headers, key, direction }, { outcome: { state, ...rest }, replayed }) { // R1, R2
  const saga = headers["ce-sagaid"], type = `countermand.reply.${state}`;
  const said = {
    "ce-specversion": "1.0", "ce-id": `${key}/${direction}/${headers["ce-sagaattempt"]}/${state}`,
    "ce-source": `/participants/${name}`, "ce-type": type, "ce-sagaprotocol": "1",
    ...Object.fromEntries(REPEATED.map((each) => [`ce-saga${each}`, headers[`ce-saga${each}`]])),
    ...(headers.traceparent && { traceparent: headers.traceparent }), ...(replayed && { "ce-sagareplayed": "true" }),
  };
  const options = { headers: said, type, contentType: "application/json", correlationId: saga };
  const body = JSON.stringify(state === "succeeded" ? rest.result : rest);
  return published(channel, `${prefix}.inbox`, String(crc32(saga) % 4), body, options); // T4
}

function bury(channel, { properties, fields, content }, problem) { // X2
  const kept = Object.entries(properties.headers ?? {}).filter(([, value]) => typeof value === "string" || Number.isInteger(value));
  const why = { "countermand-dead-reason": problem, "countermand-dead-queue": own, "countermand-dead-at": Date.now() };
  const { contentType, type, correlationId, replyTo } = properties;
  const options = { headers: { ...Object.fromEntries(kept), ...why }, contentType, type, correlationId, replyTo };
  return published(channel, `${prefix}.dead`, fields.routingKey, content, options);
}

async function take(message, incoming, outgoing) { // O1
  let command;
  try {
    command = read(message);
  } catch (error) {
    if (error instanceof OverLimit) return incoming.nack(message, false, false); // X3
    await bury(outgoing, message, error.message);
    return incoming.ack(message);
  }
  await reply(outgoing, command, await admitted(command, handlers));
  return incoming.ack(message);
}

async function session() { // T5, T6, T7
  const links = await Promise.all([0, 1].map(() => amqp.connect(`${url}?heartbeat=8`)));
  try {
    const [incoming, outgoing] = [await links[0].createChannel(), await links[1].createConfirmChannel()];
    const lost = new Promise((resolve) => {
      for (const each of [...links, incoming, outgoing]) each.on("error", resolve).on("close", resolve);
    });
    outgoing.returned = new Set();
    outgoing.on("return", ({ properties }) => outgoing.returned.add(properties.messageId));
    await declare(outgoing);
    await incoming.prefetch(20);
    const failed = new Promise((resolve) => {
      const taken = (message) => (message ? take(message, incoming, outgoing).catch(resolve) : resolve());
      incoming.consume(own, taken).then(() => tell("ready"), resolve); // T3
    });
    await Promise.race([lost, failed]);
  } finally {
    // A connection that is gone never says that it was closed.
    await Promise.race([Promise.allSettled(links.map(async (link) => link.close())), pause(1000)]);
  }
}

for (;;) {
  await session().catch((error) => tell("not connected", { problem: error.message }));
  await pause(500 + 1000 * Math.random());
}
