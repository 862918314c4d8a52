// Stands for the module `vscode` outside VS Code: what a test looks at is real, all else is one thing that takes anything.
import { EventEmitter as NodeEmitter } from "node:events";

class EventEmitter {
  emitter = new NodeEmitter();
  event = (listener) => {
    this.emitter.on("event", listener);
    return { dispose: () => this.emitter.off("event", listener) };
  };
  fire = (value) => this.emitter.emit("event", value);
  dispose = () => this.emitter.removeAllListeners();
}

/** A value that can be called, constructed, extended, iterated and read: each gives another such value. */
function anything() {
  const known = new Map();
  return new Proxy(function () {}, {
    get(target, name) {
      if (name === "prototype") return target.prototype;
      if (name === "then") return undefined;
      if (name === Symbol.iterator) return [][Symbol.iterator];
      if (name === Symbol.toPrimitive) return () => 0;
      if (!known.has(name)) known.set(name, anything());
      return known.get(name);
    },
    apply: () => anything(),
    construct: (target, values, made) => Reflect.construct(target, values, made === undefined ? target : made),
  });
}

const over = (real) => {
  const rest = anything();
  return new Proxy(real, { get: (target, name) => (name in target ? target[name] : rest[name]) });
};

/** The module, and what the extension did to it: messages shown, commands registered. */
export function stub({ folder, setting = undefined, isTrusted = true }) {
  const messages = [];
  const registered = new Map();
  const show = async (message) => void messages.push(message);
  const uri = { scheme: "file", fsPath: folder, toString: () => `file://${folder}` };
  const configuration = over({
    get: (_name, fallback) => fallback,
    inspect: () => ({ defaultValue: ["mixc", "lsp"], globalValue: setting }),
  });
  const channel = over({ logLevel: 3, onDidChangeLogLevel: new EventEmitter().event });
  const vscode = over({
    version: "1.91.0",
    EventEmitter,
    workspace: over({
      isTrusted,
      workspaceFolders: [{ uri, name: "folder", index: 0 }],
      textDocuments: [],
      notebookDocuments: [],
      getConfiguration: () => configuration,
    }),
    window: over({
      createOutputChannel: () => channel,
      visibleTextEditors: [],
      showErrorMessage: show,
      showWarningMessage: show,
      showInformationMessage: show,
    }),
    commands: over({
      registerCommand: (name, work) => {
        registered.set(name, work);
        return { dispose() {} };
      },
    }),
    env: over({ language: "en", appName: "a stub" }),
  });
  return { vscode, messages, registered };
}
