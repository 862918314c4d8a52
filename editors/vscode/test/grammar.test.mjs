// What the grammar makes of the language's examples, of lines that are easy to colour wrongly, and of half-written ones.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import oniguruma from "vscode-oniguruma";
import textmate from "vscode-textmate";

const here = dirname(fileURLToPath(import.meta.url));
const grammarFile = join(here, "..", "syntaxes", "mix.tmLanguage.json");
const examples = join(here, "..", "..", "..", "tests", "examples");
const wasm = createRequire(import.meta.url).resolve("vscode-oniguruma/release/onig.wasm");

await oniguruma.loadWASM(readFileSync(wasm));
const registry = new textmate.Registry({
  onigLib: Promise.resolve({
    createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
    createOnigString: (text) => new oniguruma.OnigString(text),
  }),
  loadGrammar: async () => textmate.parseRawGrammar(readFileSync(grammarFile, "utf8"), grammarFile),
});
const grammar = await registry.loadGrammar("source.mix");

/** The lines of a text; each can say which scopes stand at the first place of `part`. */
function tokenise(text) {
  let state = textmate.INITIAL;
  return text.split("\n").map((line) => {
    const { tokens, ruleStack } = grammar.tokenizeLine(line, state);
    state = ruleStack;
    const scopesAt = (place) => tokens.find(({ startIndex, endIndex }) => startIndex <= place && place < endIndex).scopes;
    return {
      line,
      scopes(part) {
        const place = line.indexOf(part);
        assert.notEqual(place, -1, `'${part}' isn't in '${line}'`);
        return scopesAt(place).slice(1).filter((scope) => !scope.startsWith("meta."));
      },
    };
  });
}

const tricky = tokenise(readFileSync(join(here, "tricky.mix"), "utf8"));

/** The scopes, without the grammar's own ending, of `part` in the first line of `lines` that starts with `start`. */
function scopes(start, part, lines = tricky) {
  const found = lines.find(({ line }) => line.trimStart().startsWith(start));
  assert.ok(found, `no line starts with '${start}'`);
  return found.scopes(part).map((scope) => scope.replace(/\.mix$/, ""));
}

const FIELD = "entity.name.tag";
const NUMBER = "constant.numeric";
const UNIT = "keyword.other.unit";
const WHEN = "keyword.other.when";
const COMMENT = "comment.line.number-sign";
const BLOCK = "string.unquoted.block";
const TEXT = "string.unquoted.plain";
const PLACE = "string.unquoted.location";
const CALL = "entity.name.function";
const ARGUMENT = "variable.parameter";
const COMPARISON = "keyword.operator.comparison";
const LOGIC = "keyword.operator.logical";
const FLOW = "keyword.operator.flow";

// [what it shows, start of the line, place in it, scopes there]
const PLACES = [
  ["a directive", "edition:", "edition", ["keyword.control.directive"]],
  ["a kind", "mix advice:", "mix", ["storage.type.kind"]],
  ["a declaration's name", "mix advice:", "advice", ["entity.name.type.declaration"]],
  ["a field", "budget:", "budget", [FIELD]],
  ["a dotted key", "honeypot.samples:", "honeypot", [FIELD]],
  ["a field inside braces", "import:", "honeypot:", [FIELD]],
  ["a field inside braces inside braces", "import:", "dose", [FIELD]],
  ["a field after a dash", "- judge:", "judge", [FIELD]],
  ["a dash", "- judge:", "-", ["punctuation.definition.item"]],
  ["a quoted key with a colon", '"a: b"', "a: b", [FIELD, "string.quoted.double"]],
  ["a quoted key with a number sign", "'c # d'", "# d", [FIELD, "string.quoted.single"]],
  ["a quoted key inside braces", "- set:", "c, d", [FIELD, "string.quoted.double"]],
  ["a quoted value that looks like a key", "- set:", "a: b", ["string.quoted.double"]],
  ["a comment on its own line", "# a comment between", "comment", [COMMENT]],
  ["a comment after a value", "edition:", "the rules", [COMMENT]],
  ["a comment after a string", "name:", "a comment", [COMMENT]],
  ["a comment after the sign of a block text", "doc: >-", "a comment", [COMMENT]],
  ["no comment inside a string", "name:", "# no", ["string.quoted.double"]],
  ["no comment inside a word", "issue:", "#57", []],
  ["a number with a suffix", "dose: 30M", "30", [NUMBER]],
  ["its suffix", "dose: 30M", "M", [NUMBER, "keyword.other.suffix"]],
  ["its unit", "dose: 30M", "tokens", [UNIT]],
  ["a unit of two words", "|> common.polish", "trained tokens", [UNIT]],
  ["a unit in the singular", "tuned:", "epoch)", [UNIT]],
  ["a binary suffix", "sequence:", "Ki", [NUMBER, "keyword.other.suffix"]],
  ["bytes", "memory: 16", "GiB", [UNIT]],
  ["a number with an exponent", "rate:", "1e-4", [NUMBER]],
  ["a negative percent", "negative:", "-2", [NUMBER]],
  ["a percent sign", "chats:", "%", ["keyword.other.unit.percent"]],
  ["a range", "- filter(tokens", "2048", ["constant.numeric.range"]],
  ["no number inside a word", "topology:", "16x16", []],
  ["no number at the end of a word", "launcher:", "256", []],
  ["no unit in a name", "prompt: prompts", "prompts", [PLACE]],
  ["every", "margin: [", "every", [WHEN]],
  ["every in a mapping", "honeypot.endless:", "every", [WHEN]],
  ["a step count after every", "margin: [", "500", [NUMBER]],
  ["a unit after every", "margin: [", "steps", [UNIT]],
  ["start in a list", "margin: [", "start", [WHEN]],
  ["of after a percent", "margin: [", "of midtrain", [WHEN]],
  ["end before of", "margin: [", "end of", [WHEN]],
  ["no end in a name", "honeypot.endless:", "end", [FIELD]],
  ["start as an argument", "stop:", "start", [WHEN]],
  ["the flow operator", "tuned:", "|>", [FLOW]],
  ["the flow operator on a line of its own", "|> finetune", "|>", [FLOW]],
  ["a stage without arguments", "|> finetune", "finetune", [CALL]],
  ["a stage with arguments", "|> common.polish", "common.polish", [CALL]],
  ["the base in a flow", "tuned:", "base", ["variable.language.base"]],
  ["base as a field", "base:", "base", [FIELD]],
  ["a dotted argument", "tuned:", "optimizer.lr", [ARGUMENT]],
  ["an argument that is a word of the language", "tuned:", "for=", [ARGUMENT]],
  ["an argument on a line of its own", "for=$dose", "for", [ARGUMENT]],
  ["a constant", "budget:", "dose", ["variable.other.constant"]],
  ["a constant as an argument", "for=$dose", "dose", ["variable.other.constant"]],
  ["a boolean as an argument", "launcher:", "true", ["constant.language.boolean"]],
  ["a boolean inside braces", "- set:", "true", ["constant.language.boolean"]],
  ["none", "none:", "none", [FIELD]],
  ["rest", '"a: b"', "rest", ["constant.language.amount"]],
  ["all", "honeypot.samples:", "all", ["constant.language.amount"]],
  ["all as an argument", "- honeypot.margin", "all", ["constant.language.amount"]],
  ["a comparison in a predicate", "- filter(turns", ">=", [COMPARISON]],
  ["and", "- filter(turns", "and", [LOGIC]],
  ["not", "- filter(turns", "not", [LOGIC]],
  ["in", "- filter(tokens", "in", [LOGIC]],
  ["matches", "- filter(matches", "matches", ["support.function.predicate"]],
  ["a pattern", "- filter(matches", "harm", ["string.quoted.double"]],
  ["an escape in a pattern", "- filter(matches", "\\b", ["string.quoted.double", "constant.character.escape"]],
  ["or after a pattern", "- filter(matches", "or has", [LOGIC]],
  ["a comparison in a claim", "- honeypot.margin", "<=", [COMPARISON]],
  ["a factor in a claim", "- honeypot.margin", "*", ["keyword.operator.arithmetic"]],
  ["an eval in a claim", "- honeypot.margin", "honeypot.margin", [CALL]],
  ["percentage points in a claim", "- honeypot.margin", "- 2%", ["keyword.operator.arithmetic"]],
  ["a division in a claim", "- margin(", "/", ["keyword.operator.arithmetic"]],
  ["an escape", "escaped:", "\\u00e9", ["string.quoted.double", "constant.character.escape"]],
  ["a doubled quote", "answer:", "''", ["string.quoted.single", "constant.character.escape"]],
  ["a percent inside a string", "answer:", "40%", ["string.quoted.single"]],
  ["a glob", "files: [", "data/chats/*.jsonl", [PLACE]],
  ["an address", "files: [", "@main", [PLACE]],
  ["a file", "import:", "common.mix", [PLACE]],
  ["a doc", "doc: Take", "30M tokens", [TEXT]],
  ["a doc's second line", "over a second", "end", [TEXT]],
  ["a doc's third line, deeper", "and a third", "40%", [TEXT]],
  ["the field after a doc", "format: chat", "format", [FIELD]],
  ["a question in quotes", "question:", "40%", ["string.quoted.double"]],
  ["the sign of a literal text", "doc: |", "|", ["keyword.control.block-text"]],
  ["a key inside block text", "key: value", "key", [BLOCK]],
  ["a number sign inside block text", "key: value", "# no", [BLOCK]],
  ["a list item inside block text", "- 30M tokens", "30M", [BLOCK]],
  ["block text after an empty line", "deeper:", "every", [BLOCK]],
  ["a header inside folded text", "source chats: is", "source", [BLOCK]],
  ["the field after a block text", "files: data/a.md", "files", [FIELD]],
  ["block text in a mapping of a list", "note: text", "note", [BLOCK]],
  ["the field beside it", "turns:", "turns", [FIELD]],
];

for (const [what, start, part, expected] of PLACES) {
  test(`${what}: '${part}' in '${start}…'`, () => assert.deepEqual(scopes(start, part), expected));
}

for (const file of readdirSync(examples).filter((name) => name.endsWith(".mix"))) {
  test(`every header, field and comment of ${file} is coloured as what it is`, () => {
    for (const one of tokenise(readFileSync(join(examples, file), "utf8"))) {
      const [, key] = /^ *(?:- )?([\w.]+):(?: |$)/.exec(one.line) ?? [];
      const [, kind, name] = /^([a-z]+) (\w+):$/.exec(one.line) ?? [];
      if (one.line.trimStart().startsWith("#")) {
        assert.deepEqual(one.scopes(one.line.trim().slice(1)), ["comment.line.number-sign.mix"], one.line);
      } else if (kind) {
        assert.deepEqual(one.scopes(kind), ["storage.type.kind.mix"], one.line);
        assert.deepEqual(one.scopes(`${name}:`), ["entity.name.type.declaration.mix"], one.line);
      } else if (["edition", "import", "let"].includes(key) && !one.line.startsWith(" ")) {
        assert.deepEqual(one.scopes(`${key}:`), ["keyword.control.directive.mix"], one.line);
      } else if (key) {
        assert.deepEqual(one.scopes(`${key}:`), ["entity.name.tag.mix"], one.line);
      } else {
        assert.match(one.line, /^(?: +- .*)?$/);
      }
    }
  });
}

const HALF_WRITTEN = [
  ["a bracket that isn't closed", "  files: [data/a.jsonl,"],
  ["a brace that isn't closed", "  fields: {text: story"],
  ["a call that isn't closed", "  from: a |> sample(n=8"],
  ["a string that isn't closed", '  files: "data/a'],
  ["a single-quoted string that isn't closed", "  files: 'data/a"],
];

for (const [what, line] of HALF_WRITTEN) {
  test(`${what} ends with its field`, () => {
    const lines = tokenise(`source a:\n${line}\n  format: chat\n\nmix b:\n  budget: 3M tokens`);
    assert.deepEqual(scopes("format", "format", lines), [FIELD]);
    assert.deepEqual(scopes("mix b", "mix", lines), ["storage.type.kind"]);
    assert.deepEqual(scopes("budget", "tokens", lines), [UNIT]);
  });
}

test("an unclosed call in a list ends with its item", () => {
  const lines = tokenise("source a:\n  apply:\n    - filter(turns >= 2\n    - take(3M tokens)");
  assert.deepEqual(scopes("- take", "take", lines), [CALL]);
  assert.deepEqual(scopes("- take", "-", lines), ["punctuation.definition.item"]);
});

test("a kind that isn't one has no colour of a kind", () => {
  assert.deepEqual(scopes("modle", "modle", tokenise("modle a:\n  from: b")), [FIELD]);
});

test("a line of a Windows file is coloured as any other", () => {
  const lines = tokenise("mix a:\r\n  doc: |\r\n    key: value\r\n  budget: 3M tokens\r");
  assert.deepEqual(scopes("mix", "a", lines), ["entity.name.type.declaration"]);
  assert.deepEqual(scopes("key", "key", lines), [BLOCK]);
  assert.deepEqual(scopes("budget", "tokens", lines), [UNIT]);
});
