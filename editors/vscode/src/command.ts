/** Which command starts the language server, and where its program is. */

import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join, resolve } from "node:path";

export interface Command {
  program: string;
  arguments: string[];
}

const WINDOWS = process.platform === "win32";
const OWN_PROGRAM = WINDOWS ? [".venv", "Scripts", "mixc.exe"] : [".venv", "bin", "mixc"];

/** The command to use: what the user set, else the environment of a workspace folder, else `mixc` from the PATH. */
export function chooseCommand(written: readonly string[] | undefined, folders: readonly string[]): Command {
  if (written !== undefined) {
    return { program: written[0], arguments: written.slice(1) };
  }
  const own = folders.map((folder) => join(folder, ...OWN_PROGRAM)).find(isProgram);
  return { program: own ?? "mixc", arguments: ["lsp"] };
}

/** The path of a program as a shell in `folder` finds it, or undefined where there is none. */
export function findProgram(program: string, folder: string | undefined): string | undefined {
  const names = WINDOWS && !program.toLowerCase().endsWith(".exe") ? [`${program}.exe`] : [program];
  if (isAbsolute(program)) {
    return names.find(isProgram);
  }
  const isPath = program.includes("/") || (WINDOWS && program.includes("\\"));
  const places = isPath ? (folder === undefined ? [] : [folder]) : (process.env.PATH ?? "").split(delimiter);
  return places.flatMap((place) => names.map((name) => resolve(place, name))).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // not there, or not to be run: the caller looks elsewhere, or says so
  }
}
