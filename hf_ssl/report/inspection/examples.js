// ---- What is known of an example, and how it is shown ----

all(".script-only").forEach((element) => { element.hidden = false; });

const examples = data.examples, methods = data.methods, kept = methods.length - 1;
const PARTS = ["labeled", "pool", "test"];
// A label means something else in each part.
const LABELS = ["given label", "hidden label", "label"];
const everyone = examples.part.map((_, i) => i);

const className = (k) => (k < 0 ? "unknown" : data.classes[k]);
const exampleName = (i) => examples.name[i] || `${PARTS[examples.part[i]]} example ${examples.row[i]}`;
const predicted = (i, method = kept) => (methods.length ? examples.predicted[method][i] : -1);
const isKnown = (i) => examples.label[i] >= 0 && predicted(i) >= 0;
const isWrong = (i) => isKnown(i) && examples.label[i] !== predicted(i);
const hasMedium = (i) => examples.media[i] >= 0;
const isNumber = (value) => value !== null && value !== undefined;
const percent = (value) => (isNumber(value) ? `${Math.round(100 * value)}\u00a0%` : "-");
const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const NUMBERS = {
  confidence: "confidence", disagreement: "disagreement", change: "change", foreign: "foreignness",
};
const numbersKnown = Object.keys(NUMBERS).filter((name) => examples[name].some(isNumber));

function options(select, entries) {
  for (const [value, text] of entries) select.append(make("option", text, { value }));
}

// The picture, text or recording; null if none was kept.
function medium(i) {
  if (!hasMedium(i)) return null;
  const found = data.media[examples.media[i]];
  if (found.kind === "image") return make("img", null, { src: found.src, alt: `Picture: ${exampleName(i)}` });
  if (found.kind === "text") {
    return found.text.trim() ? make("blockquote", found.text, { dir: "auto" }) : make("p", "(an empty text)", { class: "hint" });
  }
  return make("audio", null, { src: found.src, controls: "", preload: "metadata", "aria-label": `Recording: ${exampleName(i)}` });
}

function term(list, name, ...values) {
  const row = make("div"), value = make("dd");
  value.append(...values);
  row.append(make("dt", name), value);
  list.append(row);
}

// Label, what each method says, and the numbers.
function facts(i) {
  const list = make("dl", null, { class: "of-example" });
  if (examples.label[i] >= 0) {
    const mark = !isKnown(i) ? "" : isWrong(i) ? " ✗" : " ✓";
    term(list, LABELS[examples.part[i]], make("bdi", className(examples.label[i])), mark && make("span", mark, { class: isWrong(i) ? "warning" : "fine" }));
  }
  methods.forEach((method, k) => {
    if (predicted(i, k) < 0) return;
    const sure = k === kept && isNumber(examples.confidence[i]) ? ` ${percent(examples.confidence[i])}` : "";
    const name = make("bdi", className(predicted(i, k)), k === kept ? { class: "kept-class" } : {});
    term(list, method, name, sure && make("span", sure));
  });
  for (const name of numbersKnown) {
    if (name !== "confidence" && isNumber(examples[name][i])) term(list, NUMBERS[name], percent(examples[name][i]));
  }
  return list;
}

// The same in one sentence, for screen readers.
function told(i) {
  const says = predicted(i) < 0 ? "" : `; ${methods[kept]} says ${className(predicted(i))}, ${percent(examples.confidence[i])}`;
  const label = examples.label[i] < 0 ? "" : `; ${LABELS[examples.part[i]]} ${className(examples.label[i])}`;
  const found = data.media[examples.media[i]], text = found && found.kind === "text" ? `: ${found.text.slice(0, 100)}` : "";
  return `${exampleName(i)}${text}${says}${label}.`;
}
