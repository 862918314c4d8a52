// The bundled client in plain node: it loads, finds the server, talks to it over stdio, and says what to do otherwise.
import assert from "node:assert/strict";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { stub } from "./stub-vscode.mjs";

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const bundle = join(here, "..", "dist", "extension.js");
const load = Module._load;

let folder;
let extension;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mixc-client-"));
  process.env.FAKE_SERVER_LOG = join(folder, "log.jsonl");
  process.env.PATH = [join(folder, "path"), dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter);
});

afterEach(async () => {
  await extension?.deactivate();
  extension = undefined;
  Module._load = load;
  for (const { pid } of told().filter(({ started }) => started)) {
    while (isRunning(pid)) {
      await pause(20);
    }
  }
  rmSync(folder, { recursive: true });
});

/** Loads the bundle anew, in a workspace at `folder`, as VS Code does when a .mix file is opened. */
async function open(options = {}) {
  const { vscode, messages, registered } = stub({ folder, ...options });
  Module._load = (name, ...rest) => (name === "vscode" ? vscode : load(name, ...rest));
  delete require.cache[bundle];
  extension = require(bundle);
  await extension.activate({ subscriptions: [] });
  return { messages, registered };
}

function install(...place) {
  const program = join(folder, ...place);
  mkdirSync(dirname(program), { recursive: true });
  copyFileSync(join(here, "fake-server.mjs"), `${program}.mjs`);
  writeFileSync(program, `#!/bin/sh\nexec node "${program}.mjs" "$@"\n`);
  chmodSync(program, 0o755);
  return program;
}

function isRunning(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function script(text) {
  const program = join(folder, "program");
  writeFileSync(program, `#!/bin/sh\n${text}\n`);
  chmodSync(program, 0o755);
  return program;
}

function told() {
  const log = process.env.FAKE_SERVER_LOG;
  return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").map((line) => JSON.parse(line)) : [];
}

const methods = () => told().flatMap(({ method }) => method ?? []);

test("the workspace's own mixc is started with 'lsp', greeted, and ended in order", async () => {
  install(".venv", "bin", "mixc");
  const { messages } = await open();
  await extension.deactivate();
  assert.deepEqual(told()[0].started, ["lsp"]);
  assert.deepEqual(methods().slice(0, 2), ["initialize", "initialized"]);
  assert.equal(methods().includes("shutdown"), true);
  assert.deepEqual(messages, []);
});

test("without an own mixc, the one in the PATH is started", async () => {
  install("path", "mixc");
  assert.deepEqual((await open()).messages, []);
  assert.deepEqual(told()[0].started, ["lsp"]);
});

test("what the user set wins, and may be relative to the workspace", async () => {
  install(".venv", "bin", "mixc");
  install("tools", "other");
  const { messages } = await open({ setting: ["./tools/other", "lsp", "--verbose"] });
  assert.deepEqual(messages, []);
  assert.deepEqual(told()[0].started, ["lsp", "--verbose"]);
});

test("the restart command ends the old process and starts a new one", async () => {
  install("path", "mixc");
  const { messages, registered } = await open();
  await registered.get("mixc.restart")();
  const starts = told().filter(({ started }) => started);
  assert.equal(starts.length, 2);
  assert.notEqual(starts[0].pid, starts[1].pid);
  assert.equal(methods().filter((method) => method === "shutdown").length, 1);
  assert.deepEqual(messages, []);
});

test("a server that crashes while it runs is started again", { timeout: 20_000 }, async () => {
  install("path", "mixc");
  const { messages } = await open();
  process.kill(told()[0].pid);
  while (told().filter(({ started }) => started).length < 2 || methods().at(-1) !== "initialized") {
    await pause(20);
  }
  assert.deepEqual(messages, []);
});

test("a restart finds what was installed since", async () => {
  const { messages, registered } = await open();
  assert.equal(messages.length, 1);
  install(".venv", "bin", "mixc");
  await registered.get("mixc.restart")();
  await extension.deactivate();
  assert.deepEqual(methods().slice(0, 2), ["initialize", "initialized"]);
  assert.equal(messages.length, 1);
});

test("where no mixc is found, one message says where it was looked for and what to do", async () => {
  const { messages } = await open();
  assert.equal(messages.length, 1);
  assert.match(messages[0], /\.venv\/bin\/mixc .* PATH\. Install it .*'mixc\.command'/);
});

test("a program of the setting that isn't there is named", async () => {
  install("path", "mixc");
  const { messages } = await open({ setting: ["/nowhere/mixc", "lsp"] });
  assert.equal(messages.length, 1);
  assert.match(messages[0], /'\/nowhere\/mixc' of 'mixc\.command' isn't found/);
  assert.deepEqual(told(), []);
});

for (const setting of [[], "mixc lsp", [1], [""]]) {
  test(`the setting ${JSON.stringify(setting)} is answered by the form that it must have`, async () => {
    const { messages } = await open({ setting });
    assert.equal(messages.length, 1);
    assert.match(messages[0], /Write \["mixc", "lsp"\]/);
  });
}

test("a mixc without a language server is quoted, once, and not started over and over", async () => {
  const program = script(`echo x >> "${folder}/starts"; echo "error: mixc has no command 'lsp'" >&2; exit 2`);
  const { messages } = await open({ setting: [program, "lsp"] });
  assert.equal(messages.length, 1, messages.join("\n"));
  assert.match(messages[0], /error: mixc has no command 'lsp'.*install a newer one/);
  assert.equal(readFileSync(join(folder, "starts"), "utf8"), "x\n");
});

test("nothing of a workspace is run before it is trusted", async () => {
  install(".venv", "bin", "mixc");
  const { messages, registered } = await open({ isTrusted: false });
  assert.deepEqual(messages, []);
  await registered.get("mixc.restart")();
  assert.match(messages[0], /trust this workspace first/);
  assert.deepEqual(told(), []);
});
