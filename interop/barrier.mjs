// The barrier of docs/protocol.md, section 7. Its rows are this process's memory: good for a demonstration, not for money.
const rows = new Map(); // key -> the rows of `do` and `undo`, each null or { state, … }
const lines = new Map(); // key -> the end of the line of those who wait for it

export class Rejected extends Error {
  constructor(code, reason = "") {
    super(reason);
    this.code = code;
  }
}

const succeeded = (result = null) => ({ state: "succeeded", result });
const failed = (code, more = {}) => ({ state: "failed", code, ...more });
const rejected = (code, reason = "") => ({ state: "rejected", code, reason });
const notDone = () => rejected("not_done", "nothing was done under this key");

// B1: one decision about a key after the other.
export function admitted(command, handlers) {
  const turn = (lines.get(command.key) ?? Promise.resolve()).then(() => decided(command, handlers));
  const end = turn.catch(() => {}).then(() => {
    if (lines.get(command.key) === end) lines.delete(command.key);
  });
  lines.set(command.key, end);
  return turn;
}

async function decided(command, handlers) {
  const { key, direction } = command;
  const found = rows.get(key) ?? { do: null, undo: null };
  const answer = { do: doAnswer, undo: undoAnswer, probe: probeAnswer }[direction](found, command);
  if (answer) return answer;
  if (direction === "probe") return { outcome: await asked(command, handlers, found.do) };
  rows.set(key, direction === "do" ? { do: { state: "begun" }, undo: null } : { do: found.do, undo: { state: "begun" } });
  const outcome = await run(command, handlers, found.do);
  // B2: a failure leaves what it found, so that the next attempt runs.
  if (outcome.state !== "failed") rows.set(key, { ...rows.get(key), [direction]: outcome });
  return { outcome };
}

function doAnswer(found, { deadline }) {
  if (found.do?.state === "tombstone" || found.undo?.state === "succeeded") {
    return { outcome: rejected("compensated", "the action came after its compensation") };
  }
  if (found.do && found.do.state !== "begun") return { outcome: found.do, replayed: true };
  if (found.undo) return { outcome: failed("in_progress", { retry_after_ms: 1000 }) };
  if (deadline + 1000 < Date.now()) return { outcome: failed("expired", { rolled_back: found.do === null }) }; // C9
  return null;
}

function undoAnswer(found, { key }) {
  if (found.undo?.state === "succeeded") return { outcome: found.undo, replayed: true };
  if (found.do === null || ["rejected", "tombstone"].includes(found.do.state)) {
    rows.set(key, { do: found.do ?? { state: "tombstone" }, undo: succeeded() });
    return { outcome: succeeded() };
  }
  return null;
}

function probeAnswer(found, { deadline }) {
  const closed = ["rejected", "tombstone"].includes(found.do?.state) || found.undo?.state === "succeeded";
  if (closed) return { outcome: notDone(), replayed: true };
  if (found.do?.state === "succeeded") return { outcome: found.do, replayed: true };
  if (found.undo) return { outcome: failed("in_progress", { retry_after_ms: 1000 }) };
  return deadline + 1000 < Date.now() ? { outcome: failed("expired") } : null; // C15
}

async function asked({ key, text, action }, handlers, before) {
  const kept = (row, outcome) => (rows.set(key, { do: row, undo: null }), outcome);
  const closed = () => kept({ state: "tombstone" }, notDone());
  if (!handlers[action]?.probe) return before ? failed("unknown", { retryable: false }) : closed(); // B11
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return failed("malformed_command");
  }
  try {
    const found = await handlers[action].probe(body, key); // B10
    return found === null ? closed() : kept(succeeded(found), succeeded(found));
  } catch (error) {
    return failed(error instanceof Rejected ? error.code : error.constructor.name);
  }
}

async function run({ key, text, action, direction }, handlers, before) {
  // C6: only of an action that never began it is certain that nothing was done.
  const refused = (code) =>
    direction === "do" && before === null ? rejected(code, action) : failed(code, { retryable: direction === "undo" });
  if (!handlers[action]) return refused("unknown_command");
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return refused("malformed_command");
  }
  try {
    if (direction === "do") return succeeded((await handlers[action].do(body, key)) ?? null);
    const result = before.state === "succeeded" ? before.result : body.result; // C4
    await handlers[action].undo(body.command, result, key);
    return succeeded();
  } catch (error) {
    if (!(error instanceof Rejected)) return failed(error.constructor.name);
    return direction === "do" ? rejected(error.code, error.message) : failed(error.code); // R5
  }
}
