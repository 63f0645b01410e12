// The tables are complete without this script; it filters them, and shows the runs behind a number.

// ---- Filters ----

const form = document.getElementById("filters");

function filter() {
  const wanted = Object.fromEntries(["modality", "task", "labels", "origin", "algorithm"].map((name) => [name, document.getElementById(name).value]));
  const part = wanted.algorithm.trim().toLowerCase();
  let columns = 0, names = new Set();
  all("section.errors").forEach((section) => {
    const ofModality = !wanted.modality || section.dataset.modality === wanted.modality;
    const heads = all("thead th", section);
    const visible = heads.map((head) => head.dataset.task === undefined ||
      ((!wanted.task || head.dataset.task === wanted.task) && (!wanted.labels || head.dataset.labels === wanted.labels)));
    const number = visible.filter((is, column) => is && column > 1).length;
    heads.forEach((head, column) => { head.hidden = !visible[column]; });
    let rows = 0;
    all("tbody tr", section).forEach((row) => {
      const cells = [...row.cells];
      cells.forEach((cell, column) => { cell.hidden = !visible[column]; });
      const name = cells[0].textContent;
      const hasNumber = cells.some((cell, column) => column > 1 && visible[column] && !cell.querySelector(".none"));
      const fits = (!wanted.origin || row.dataset.origin === wanted.origin) && name.toLowerCase().includes(part);
      row.hidden = !(fits && (hasNumber || row.dataset.origin === "reproduced"));
      if (!row.hidden && ofModality && number) { rows += 1; names.add(name); }
    });
    section.hidden = !(ofModality && number && rows);
    if (!section.hidden) columns += number;
  });
  all("section.scope").forEach((scope) => {
    scope.hidden = Boolean(wanted.modality && scope.dataset.modality && scope.dataset.modality !== wanted.modality);
  });
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  document.getElementById("shown").textContent = names.size
    ? `Shown: ${count(names.size, "algorithm")} in ${count(columns, "setting")}.` : "Nothing fits these filters.";
}

if (form) {
  form.hidden = false;
  all(".script-only").forEach((element) => { element.hidden = false; });
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}

// ---- Arrow keys between numbers ----

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function move(event) {
  const step = STEPS[event.key], button = event.target.closest("td button");
  if (!step || !button) return;
  const rows = all("tbody tr", button.closest("table"));
  const cell = button.closest("td");
  let row = rows.indexOf(cell.parentElement), column = cell.cellIndex;
  for (;;) {
    row += step[0]; column += step[1];
    if (!rows[row] || !rows[row].cells[column]) return;
    const target = rows[row].cells[column].querySelector("button");
    if (target && target.offsetParent) { event.preventDefault(); target.focus(); return; }
  }
}

// ---- The runs behind a number ----

const dialog = document.getElementById("runs");
const CURVES = ["Test accuracy", "Validation accuracy", "Share of the pool that takes part (mask ratio)", "Share of its pseudo-labels that are right"];
const shown = (value) => (value === null || value === undefined ? "-" : `${value}`);
const percent = (value) => (value === null ? "-" : `${value.toFixed(2)} %`);

function drawing(title, lines, seeds) {
  const space = "http://www.w3.org/2000/svg";
  const part = (name, attributes, text) => {
    const element = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const points = lines.flat(), last = Math.max(...points.map((point) => point[0]), 1);
  const values = points.map((point) => point[1]);
  let low = Math.floor((Math.min(...values) - 1) / 10) * 10, high = Math.ceil((Math.max(...values) + 1) / 10) * 10;
  low = Math.max(low, 0); high = Math.min(high, 100);
  const x = (step) => 46 + 300 * step / last, y = (value) => 150 - 138 * (value - low) / (high - low || 1);
  const ends = lines.map((line, i) => `seed ${seeds[i]}: ${line[0][1]} % at step ${line[0][0]}, ${line[line.length - 1][1]} % at step ${line[line.length - 1][0]}`);
  const svg = part("svg", { viewBox: "0 0 360 180", role: "img", "aria-label": `${title}. ${ends.join("; ")}.` });
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(part("line", { class: "grid", x1: 46, x2: 350, y1: y(value), y2: y(value) }));
    svg.append(part("text", { x: 42, y: y(value) + 4, "text-anchor": "end" }, `${value} %`));
  }
  svg.append(part("text", { x: 46, y: 170 }, "0"), part("text", { x: 350, y: 170, "text-anchor": "end" }, `step ${last.toLocaleString("en")}`));
  lines.forEach((line, i) => {
    const path = line.map((point, k) => `${k ? "L" : "M"}${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("");
    svg.append(part("path", { class: `s${i % 6}`, d: line.length > 1 ? path : `${path}h.1` }));
  });
  const figure = make("figure");
  figure.append(make("figcaption", title), svg);
  return figure;
}

function curves(runs) {
  const box = make("div", null, { class: "curves" });
  CURVES.forEach((title, which) => {
    const lines = [], seeds = [];
    runs.forEach((run) => {
      const steps = data.shared.steps[run[16]], values = run[17][which];
      const line = values ? steps.map((step, i) => [step, values[i]]).filter((point) => point[1] !== null).map(([step, value]) => [step, value / 10]) : [];
      if (line.length) { lines.push(line); seeds.push(run[0]); }
    });
    if (lines.length) box.append(drawing(title, lines, seeds));
  });
  return box;
}

// Name of a column, and what of a run it shows; a column without any value is left out.
const COLUMNS = [
  ["error (last)", (run) => percent(run[1])], ["error (best)", (run) => percent(run[2])],
  ["best chosen by", (run) => shown(data.shared.splits[run[3]])], ["best step", (run) => shown(run[4])],
  ["steps", (run) => shown(run[5])], ["mask ratio", (run) => percent(run[6])],
  ["pseudo-labels right", (run) => percent(run[7])], ["seconds", (run) => shown(run[8])],
  ["memory (MB)", (run) => shown(run[9])], ["energy (kWh)", (run) => shown(run[10])],
];

function runTable(runs, folder) {
  const table = make("table"), head = make("tr"), body = make("tbody");
  const columns = COLUMNS.filter(([, value]) => runs.some((run) => value(run) !== "-"));
  ["seed", "file", ...columns.map(([name]) => name)].forEach((name) => head.append(make("th", name, { scope: "col" })));
  runs.forEach((run, i) => {
    const row = make("tr"), seed = make("th", run[0], { scope: "row" });
    seed.append(make("span", " ━", { class: `k${i % 6}`, "aria-hidden": "true" }));
    const file = make("td"), name = `seed${run[0]}.json`, at = document.body.dataset.runs;
    file.append(at ? make("a", name, { href: at + `${folder}/${name}`.split("/").map(encodeURIComponent).join("/") }) : name);
    row.append(seed, file, ...columns.map(([, value]) => make("td", value(run))));
    body.append(row);
  });
  const heading = make("thead");
  heading.append(head);
  table.append(heading, body);
  const scroll = make("div", null, { class: "scroll", role: "region", "aria-label": "Runs", tabindex: "0" });
  scroll.append(table);
  return scroll;
}

function facts(runs) {
  const list = make("dl");
  const add = (name, values) => {
    const different = [...new Set(values.filter((value) => value !== null && value !== undefined && value !== ""))];
    if (!different.length) return;
    list.append(make("dt", name));
    different.forEach((value) => list.append(make("dd", value)));
  };
  const listed = (values) => (values !== null && typeof values === "object" ? Object.entries(values).map(([key, value]) => `${key} ${value === null ? "none" : value}`).join(", ") : values);
  const topics = new Set(runs.flatMap((run) => Object.keys(run[11])));
  topics.forEach((topic) => add(`Settings: ${topic}`, runs.map((run) => (topic in run[11] ? listed(data.shared.settings[run[11][topic]]) : null))));
  add("Metrics at the end", runs.map((run) => run[18][1].length ? `seed ${run[0]}: ` + data.shared.metrics[run[18][0]].map((name, i) => `${name} ${percent(run[18][1][i])}`).join(", ") : null));
  add("Versions", runs.map((run) => listed(data.shared.versions[run[12]])));
  add("Machine", runs.map((run) => data.shared.machines[run[13]]));
  add("Draw of labels (hash)", runs.map((run) => run[15] && `seed ${run[0]}: ${run[15]}`));
  add("Key", runs.map((run) => `seed ${run[0]}: ${run[14]}`));
  return list;
}

function openRuns(number) {
  const [setting, algorithm, folder, runs] = data.cells[number];
  const [title, modality, backbone, schedule] = data.settings[setting];
  document.getElementById("runs-title").textContent = `${data.algorithms[algorithm]} on ${title}`;
  const body = document.getElementById("runs-body");
  body.replaceChildren(
    make("p", `${modality}, ${backbone}, schedule ${schedule}. Errors in percent; "last" is what the tables show.`),
    runTable(runs, folder), curves(runs), facts(runs));
  history.replaceState(null, "", `#run=${encodeURIComponent(folder)}`);
  dialog.showModal();
  dialog.scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-c]");
  if (button) openRuns(Number(button.dataset.c));
});
document.addEventListener("keydown", move);
dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function openLinked() {
  if (!location.hash.startsWith("#run=")) return;
  const folder = decodeURIComponent(location.hash.slice(5));
  const number = data.cells.findIndex((cell) => cell[2] === folder);
  if (number >= 0) openRuns(number);
}
openLinked();
