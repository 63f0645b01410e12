// ---- Colors and shapes of examples, and what they stand for ----

// Colors that people who see few colors can tell apart (after Okabe and Ito), for a light and a dark page. Classes
// differ in shape, too: of 50 no two have the same color and the same shape.
const COLORS = {
  light: ["#0072b2", "#d55e00", "#00845f", "#c2559d", "#a87400", "#3f9bd8", "#6a3d9a", "#8c2d19", "#3b3f45", "#6b6b1f"],
  dark: ["#3f97dd", "#f08a3c", "#2cc295", "#e08fc0", "#e6b422", "#9ad6ff", "#ab8df0", "#ff7d6e", "#f2f2f2", "#b5bd68"],
};
const GRAY = { light: "#9aa3ac", dark: "#5d6771" };
const SHAPES = [
  "M1 0A1 1 0 1 1 -1 0A1 1 0 1 1 1 0Z", "M-.9-.9H.9V.9H-.9Z", "M0-1.2L1.1 .85H-1.1Z", "M0-1.3L1.15 0L0 1.3L-1.15 0Z",
  "M-1.1-.4H-.4V-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1Z",
];
const PATHS = SHAPES.map((shape) => new Path2D(shape));
// From little to much, on a light and on a dark page.
const RAMPS = {
  light: [[222, 205, 160], [120, 160, 150], [50, 110, 150], [30, 40, 110]],
  dark: [[60, 64, 110], [60, 120, 150], [130, 180, 130], [250, 225, 90]],
};
const MOST_STYLES = COLORS.light.length * SHAPES.length;

const theme = () => document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const isPlaced = (i) => isNumber(examples.x[i]) && isNumber(examples.y[i]);

// The most frequent classes have a style of their own, the same whatever is colored.
const styleOfClass = (() => {
  const sizes = data.classes.map((_, k) => [k, 0]);
  everyone.forEach((i) => { const k = predicted(i) >= 0 ? predicted(i) : examples.label[i]; if (k >= 0) sizes[k][1] += 1; });
  const frequent = sizes.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, MOST_STYLES).map(([k]) => k).sort((a, b) => a - b);
  return new Map(frequent.map((k, place) => [k, { color: place % 10, shape: (place + Math.floor(place / 10)) % SHAPES.length }]));
})();

function classCategories(classOf) {
  const sizes = new Map();
  everyone.forEach((i) => { if (isPlaced(i)) sizes.set(classOf(i), (sizes.get(classOf(i)) || 0) + 1); });
  const own = [...sizes.keys()].filter((k) => styleOfClass.has(k)).sort((a, b) => a - b);
  const found = own.map((k) => ({ key: k, name: className(k), size: sizes.get(k), ...styleOfClass.get(k) }));
  const rest = [...sizes.keys()].filter((k) => k >= 0 && !styleOfClass.has(k));
  if (rest.length) found.push({ key: "other", name: counted(rest.length, "further class").replace("classs", "classes"), size: rest.reduce((sum, k) => sum + sizes.get(k), 0), color: -1, shape: 0 });
  if (sizes.has(-1)) found.push({ key: -1, name: "unknown", size: sizes.get(-1), color: -1, shape: 0 });
  return [found, (i) => (classOf(i) < 0 || styleOfClass.has(classOf(i)) ? classOf(i) : "other")];
}

function namedCategories(rows, keyOf) {
  const found = rows.map(([key, name, color, shape]) => ({ key, name, color, shape, size: everyone.filter((i) => isPlaced(i) && keyOf(i) === key).length }));
  return [found.filter((category) => category.size), keyOf];
}

// Steps of a tenth, unknown values apart.
function numberCategories(name) {
  const values = examples[name];
  const keyOf = (i) => (isNumber(values[i]) ? Math.min(Math.max(Math.floor(10 * values[i]), 0), 9) : -1);
  const rows = Array.from({ length: 10 }, (_, step) => [step, `${10 * step}–${10 * step + 10}\u00a0%`, step / 9, 0]);
  const [found] = namedCategories([...rows, [-1, "unknown", -1, 0]], keyOf);
  return [found.map((category) => ({ ...category, isShade: category.key >= 0 })), keyOf];
}

function categoriesOf(choice) {
  if (choice === "label") return classCategories((i) => examples.label[i]);
  if (choice === "right") {
    const keyOf = (i) => (!isKnown(i) ? "unknown" : isWrong(i) ? "wrong" : "right");
    return namedCategories([["right", "right", 0, 0], ["wrong", "wrong", 1, 2], ["unknown", "label unknown", -1, 0]], keyOf);
  }
  if (choice === "part") return namedCategories(PARTS.map((part, k) => [k, part, [1, 0, 2][k], [3, 0, 1][k]]), (i) => examples.part[i]);
  if (choice in NUMBERS) return numberCategories(choice);
  return classCategories((i) => predicted(i, Number(choice)));
}

function colorOf(category) {
  if (category.color < 0) return GRAY[theme()];
  if (!category.isShade) return COLORS[theme()][category.color];
  const ramp = RAMPS[theme()], at = category.color * (ramp.length - 1), step = Math.min(Math.floor(at), ramp.length - 2);
  return `rgb(${ramp[step].map((value, c) => Math.round(value + (at - step) * (ramp[step + 1][c] - value))).join(" ")})`;
}

function swatch(category) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), path = document.createElementNS(space, "path");
  for (const [name, value] of Object.entries({ viewBox: "-1.5 -1.5 3 3", class: "swatch", "aria-hidden": "true" })) svg.setAttribute(name, value);
  path.setAttribute("d", SHAPES[category.shape]);
  path.style.fill = colorOf(category);
  svg.append(path);
  return svg;
}
