// Shows the transcripts that the page holds as JSON: filters all of them, and makes elements for a few at a time.
"use strict";
(() => {
  const PROMPTS_AT_ONCE = 10;
  const ANSWERS_AT_ONCE = 4;
  const CHARACTERS = 900;
  const form = document.getElementById("transcript-filter");
  const list = document.getElementById("transcript-list");
  const more = document.getElementById("transcript-more");
  const count = document.getElementById("transcript-count");
  const data = JSON.parse(document.getElementById("transcript-data").textContent);
  const { prompt, arm, seed, point, sample, verdict, text, note } = data.answers;
  const number = new Intl.NumberFormat("en");
  let found = [];
  let shown = 0;
  let searchable = null;

  const element = (name, content, className) => {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = content;
    if (className) made.className = className;
    return made;
  };

  // Lower-case texts, made at the first search: prompts once, however many answers they have.
  const search = () => {
    searchable ??= {
      prompts: data.prompts.map((each) =>
        [each.name, ...each.messages.map((message) => message[1]), ...(each.sides ?? [])].join("\n").toLowerCase(),
      ),
      answers: text.map((each, index) => `${each}\n${note[index]}`.toLowerCase()),
    };
    return searchable;
  };

  const chosen = () => Object.fromEntries(new FormData(form));

  // Answers to a prompt stand together: where they begin.
  const begins = new Uint32Array(data.prompts.length + 1).fill(prompt.length);
  for (let row = prompt.length - 1; row >= 0; row -= 1) begins[prompt[row]] = row;

  // Notes which answers are in question, which of these fit, and the prompts that have one that fits.
  const asked = new Uint8Array(prompt.length);
  const fits = new Uint8Array(prompt.length);
  const filter = (want) => {
    const isEval = data.prompts.map((each) => want.eval === "" || each.eval === Number(want.eval));
    const isPoint = data.points.map((each, index) =>
      want.point === "" || (want.point === "end" ? each.end : index === Number(want.point)),
    );
    const words = want.text.toLowerCase();
    const texts = words && search();
    const numberOf = (value) => (value === "" ? -1 : Number(value));
    const [oneArm, oneVerdict, oneSeed] = [want.arm, want.verdict, want.seed].map(numberOf);
    let fitting = 0;
    found = [];
    for (let number = 0; number < data.prompts.length; number += 1) {
      const inPrompt = !words || texts.prompts[number].includes(words);
      let any = false;
      for (let row = begins[number]; row < begins[number + 1]; row += 1) {
        asked[row] =
          isEval[number] && isPoint[point[row]] && (oneSeed < 0 || seed[row] === null || seed[row] === oneSeed) ? 1 : 0;
        fits[row] =
          asked[row] &&
          (oneArm < 0 || arm[row] === oneArm) &&
          (oneVerdict < 0 || verdict[row] === oneVerdict) &&
          (inPrompt || texts.answers[row].includes(words))
            ? 1
            : 0;
        fitting += fits[row];
        any ||= fits[row] === 1;
      }
      if (any) found.push(number);
    }
    return fitting;
  };

  // Long text is cut, with a button that shows the rest.
  const quote = (content) => {
    const block = element("blockquote", content.slice(0, CHARACTERS));
    block.dir = "auto";
    if (content.length <= CHARACTERS) return [block];
    const rest = element("button", `Show all ${number.format(content.length)} characters`, "more");
    rest.type = "button";
    rest.addEventListener("click", () => {
      block.textContent = content;
      rest.remove();
      block.tabIndex = -1;
      block.focus();
    });
    return [block, rest];
  };

  const place = (row) =>
    [
      seed[row] === null ? "" : `seed ${seed[row]}`,
      data.points[point[row]].end ? "" : data.points[point[row]].label,
      sample[row] > 0 ? `sample ${sample[row] + 1}` : "",
    ]
      .filter(Boolean)
      .join(", ");

  const said = (row) => {
    const part = element("div", undefined, fits[row] ? "said" : "said other");
    const head = element("p");
    head.append(element("span", data.verdicts[verdict[row]], "verdict"));
    if (place(row)) head.append(` ${place(row)}`);
    part.append(head, ...(text[row] ? quote(text[row]) : []));
    if (note[row]) part.append(element("p", note[row], "detail"));
    return part;
  };

  const ofArm = (which, rows) => {
    const column = element("div", undefined, "arm");
    column.append(element("h4", data.arms[which]));
    const add = (from, upTo) => rows.slice(from, upTo).forEach((row) => column.append(said(row)));
    add(0, ANSWERS_AT_ONCE);
    if (rows.length > ANSWERS_AT_ONCE) {
      const rest = element("button", `Show ${number.format(rows.length - ANSWERS_AT_ONCE)} more answers`, "more");
      rest.type = "button";
      rest.addEventListener("click", () => {
        rest.remove();
        add(ANSWERS_AT_ONCE, rows.length);
      });
      column.append(rest);
    }
    return column;
  };

  const article = (number) => {
    const of = data.prompts[number];
    const { beside: others } = chosen();
    const made = element("article", undefined, "prompt");
    const head = element("h3", of.name);
    head.append(" ", element("span", data.evals[of.eval], "metric"));
    made.append(head);
    for (const [role, content] of of.messages) made.append(element("p", role, "role"), ...quote(content));
    if (of.tools.length > 0) made.append(element("p", `tools: ${of.tools.join(", ")}`, "caption"));
    (of.sides ?? []).forEach((side, index) =>
      made.append(element("p", index === 0 ? "aligned" : "misaligned", "role"), ...quote(side)),
    );
    const arms = new Map();
    for (let row = begins[number]; row < begins[number + 1]; row += 1) {
      if (!(others ? asked[row] : fits[row])) continue;
      if (!arms.has(arm[row])) arms.set(arm[row], []);
      arms.get(arm[row]).push(row);
    }
    const beside = element("div", undefined, "arms");
    for (const [which, rows] of arms) beside.append(ofArm(which, rows));
    made.append(beside);
    return made;
  };

  const show = () => {
    const next = found.slice(shown, shown + PROMPTS_AT_ONCE).map(article);
    list.append(...next);
    shown += next.length;
    more.hidden = shown >= found.length;
    return next[0];
  };

  const update = () => {
    const fitting = filter(chosen());
    list.replaceChildren();
    shown = 0;
    show();
    const all = number.format(prompt.length);
    count.textContent = `${number.format(fitting)} of ${all} answers fit, to ${number.format(found.length)} prompts.`;
  };

  const options = (name, labels) => {
    const select = form.elements[name];
    labels.forEach(([value, label]) => select.append(new Option(label, value)));
    if (labels.length < 2) select.closest("label").hidden = true;
  };

  // The filter stands in the address, so that a view can be sent to somebody and survives a reload.
  const remember = () => {
    const want = Object.entries(chosen()).filter(([name, value]) => value !== "" && name !== "beside");
    history.replaceState(null, "", `#transcripts?${new URLSearchParams(want)}`);
  };
  const restore = (field, value) => {
    field.value = value;
    if (field.selectedIndex === -1) field.selectedIndex = 0; // the page has changed since
  };
  const recall = () => {
    const [where, query] = location.hash.slice(1).split("?");
    if (where !== "transcripts" || query === undefined) return;
    const want = new URLSearchParams(query);
    for (const field of form.elements) if (field.type !== "checkbox") restore(field, want.get(field.name) ?? "");
    document.getElementById("transcripts").scrollIntoView();
  };

  options("eval", data.evals.map((name, index) => [index, name]));
  options("arm", data.arms.map((name, index) => [index, name]));
  options("verdict", data.verdicts.map((name, index) => [index, name]));
  options("seed", [...new Set(seed)].filter((one) => one !== null).sort((a, b) => a - b).map((one) => [one, one]));
  options("point", data.points.map((each, index) => [index, each.label]));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    update();
    remember();
  });
  more.addEventListener("click", () => {
    const first = show();
    first.tabIndex = -1;
    first.focus();
  });
  window.addEventListener("hashchange", () => {
    recall();
    update();
  });
  form.hidden = false;
  recall();
  update();
  (window.requestIdleCallback ?? setTimeout)(search);
})();
