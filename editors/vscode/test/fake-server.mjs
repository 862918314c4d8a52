#!/usr/bin/env node
// A language server that only greets and leaves, and writes down what it was told: one JSON line a message.
import { appendFileSync } from "node:fs";

const log = (entry) => appendFileSync(process.env.FAKE_SERVER_LOG, `${JSON.stringify(entry)}\n`);
log({ started: process.argv.slice(2), pid: process.pid });

let waiting = Buffer.alloc(0);
process.stdin.on("data", (bytes) => {
  waiting = Buffer.concat([waiting, bytes]);
  for (;;) {
    const head = /^Content-Length: (\d+)\r\n(?:.*\r\n)*?\r\n/.exec(waiting.toString("latin1"));
    const end = head ? head[0].length + Number(head[1]) : Infinity;
    if (waiting.length < end) {
      return;
    }
    answer(JSON.parse(waiting.subarray(head[0].length, end).toString()));
    waiting = waiting.subarray(end);
  }
});

function answer({ id, method }) {
  log({ method });
  if (method === "exit") {
    process.exit(0);
  }
  if (id !== undefined) {
    const result = method === "initialize" ? { capabilities: {} } : null;
    const body = JSON.stringify({ jsonrpc: "2.0", id, result });
    process.stdout.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  }
}
