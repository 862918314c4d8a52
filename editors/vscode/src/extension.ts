/** Starts `mixc lsp` for .mix files, and says what to do where it can't be started. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { commands, type ExtensionContext, type FileSystemWatcher, type LogOutputChannel, window, workspace } from "vscode";
import { CloseAction, LanguageClient, type LanguageClientOptions, State } from "vscode-languageclient/node";

import { chooseCommand, type Command, findProgram } from "./command";

const LONGEST_START = 30_000; // milliseconds; a first start of Python on a busy machine takes several seconds
const LONGEST_END = 2_000; // milliseconds that a server has to end by itself
const SETTING = "mixc.command";
const OPEN_SETTING = "Open the setting";
const SHOW_OUTPUT = "Show the output";

let output: LogOutputChannel;
let watcher: FileSystemWatcher;
let client: Client | undefined;
let lastTurn: Promise<void> = Promise.resolve();

/** Called by VS Code when the first .mix file is opened or a command of this extension is used. */
export async function activate(context: ExtensionContext): Promise<void> {
  output = window.createOutputChannel("mixc", { log: true });
  watcher = workspace.createFileSystemWatcher("**/*.mix");
  context.subscriptions.push(
    output,
    watcher,
    commands.registerCommand("mixc.restart", restart),
    workspace.onDidGrantWorkspaceTrust(restart),
    workspace.onDidChangeConfiguration((change) => (change.affectsConfiguration(SETTING) ? restart() : undefined)),
  );
  if (workspace.isTrusted) {
    await restart();
  }
}

/** Called by VS Code before it ends. */
export function deactivate(): Promise<void> {
  return inTurn(stop);
}

function restart(): Promise<void> {
  return inTurn(async () => {
    await stop();
    await start();
  });
}

/** Starts and stops one after the other, however fast they are asked for. */
function inTurn(work: () => Promise<void>): Promise<void> {
  lastTurn = lastTurn.then(work, work);
  return lastTurn;
}

async function stop(): Promise<void> {
  const running = client;
  client = undefined;
  if (running?.state === State.Running) {
    await running.stop().catch((error: unknown) => output.warn(`the language server didn't stop in order: ${error}`));
    await running.end();
  }
}

async function start(): Promise<void> {
  if (!workspace.isTrusted) {
    void window.showWarningMessage("mixc: trust this workspace first; the language server is a program that it may bring.");
    return;
  }
  const written = writtenCommand();
  if (written !== undefined && !isCommand(written)) {
    complain(`'${SETTING}' is a list: the program, then its arguments. Write ["mixc", "lsp"], or remove the setting.`);
    return;
  }
  const folders = (workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === "file").map(({ uri }) => uri.fsPath);
  const command = chooseCommand(written, folders);
  const program = findProgram(command.program, folders[0]);
  if (program === undefined) {
    complain(
      written === undefined
        ? "mixc isn't found: neither as .venv/bin/mixc in this workspace nor in the PATH. " +
            `Install it in one of the two, or set '${SETTING}' to where it is, then restart the language server.`
        : `the program '${command.program}' of '${SETTING}' isn't found. Set it to where mixc is, or remove the setting.`,
    );
    return;
  }
  output.info(`starting ${[program, ...command.arguments].join(" ")}`);
  client = new Client({ program, arguments: command.arguments }, folders[0]);
  try {
    await withinTime(client.start());
  } catch (error) {
    await client.end();
    const reason = client.lastWords ?? (error instanceof Error ? error.message : String(error));
    client = undefined;
    complain(
      `'${[command.program, ...command.arguments].join(" ")}' doesn't work as a language server: ${reason}. ` +
        `If this mixc has no command 'lsp', install a newer one; else set '${SETTING}', then restart the language server.`,
    );
  }
}

/** Waits for a start, so that a program that never answers can't keep a restart from its turn. */
async function withinTime(start: Promise<void>): Promise<void> {
  const waiting = new AbortController();
  const late = pause(LONGEST_START, undefined, { signal: waiting.signal }).then(() => {
    throw new Error(`no answer in ${LONGEST_START / 1000} seconds`);
  });
  try {
    await Promise.race([start, late]);
  } finally {
    waiting.abort();
  }
}

/** What the user wrote, in any of the places for settings; the default isn't a choice. */
function writtenCommand(): unknown {
  const found = workspace.getConfiguration("mixc").inspect("command");
  return found?.workspaceFolderValue ?? found?.workspaceValue ?? found?.globalValue;
}

function isCommand(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === "string") && value[0] !== "";
}

function complain(message: string): void {
  output.error(message);
  void window.showErrorMessage(`mixc: ${message}`, OPEN_SETTING, SHOW_OUTPUT).then((answer) => {
    if (answer === OPEN_SETTING) {
      void commands.executeCommand("workbench.action.openSettings", SETTING);
    } else if (answer === SHOW_OUTPUT) {
      output.show(true);
    }
  });
}

/** The client of one server process. What goes wrong before the server runs is told once, by `start` above. */
class Client extends LanguageClient {
  /** The last line of the server's stderr. */
  lastWords: string | undefined;
  private server: ChildProcess | undefined;
  private ended: Promise<unknown> = Promise.resolve();
  private readonly usual = this.createDefaultErrorHandler();

  constructor(command: Command, folder: string | undefined) {
    const startServer = async () => {
      const server = (this.server = spawn(command.program, command.arguments, { cwd: folder }));
      await once(server, "spawn");
      this.ended = new Promise((resolve) => server.once("close", resolve));
      return server;
    };
    const options: LanguageClientOptions = {
      documentSelector: [{ language: "mix", scheme: "file" }],
      synchronize: { fileEvents: watcher },
      outputChannel: output,
      initializationFailedHandler: () => false,
      stdioOptions: {
        stdout: () => undefined,
        stderr: (stream) =>
          createInterface({ input: stream }).on("line", (line) => {
            this.lastWords = line.trim() || this.lastWords;
            output.info(line);
          }),
      },
      errorHandler: {
        error: (error, message, count) => this.usual.error(error, message, count),
        closed: () =>
          this.state === State.Running ? this.usual.closed() : { action: CloseAction.DoNotRestart, handled: true },
      },
    };
    super("mixc", "mixc", startServer, options);
  }

  /** Waits until the process has ended and all that it wrote is read, and kills it where that takes too long. */
  async end(): Promise<void> {
    await Promise.race([this.ended, pause(LONGEST_END, undefined, { ref: false })]);
    this.server?.kill();
  }

  override error(message: string, data?: unknown, show?: boolean | "force"): void {
    super.error(message, data, this.state === State.Running ? show : false);
  }
}
