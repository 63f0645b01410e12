// ---- The map: every example as a point on a canvas ----

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

const canvas = document.getElementById("map-canvas");
const map = {
  zoom: 1, x: 0.5, y: 0.5, width: 0, height: 0, hovered: -1, chosen: -1, waiting: false,
  categories: [], categoryOf: [], hidden: new Set(), screenX: new Float32Array(everyone.length), screenY: new Float32Array(everyone.length),
};
const theme = () => document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
const isPlaced = (i) => isNumber(examples.x[i]) && isNumber(examples.y[i]);

// ---- Colors ----

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
  const rows = Array.from({ length: 10 }, (_, step) => [step, `${10 * step} to ${10 * step + 10} %`, step / 9, 0]);
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

function colorMap() {
  const [categories, keyOf] = categoriesOf(document.getElementById("map-color").value);
  const places = new Map(categories.map((category, place) => [category.key, place]));
  map.categories = categories;
  map.categoryOf = everyone.map((i) => (isPlaced(i) ? places.get(keyOf(i)) : -1));
  map.hidden.clear();
  showLegend();
  draw();
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

function showLegend() {
  const legend = document.getElementById("map-legend"), boxes = make("div", null, { class: "boxes" });
  map.categories.forEach((category, place) => {
    const label = make("label"), box = make("input", null, { type: "checkbox" });
    box.checked = !map.hidden.has(place);
    box.addEventListener("change", () => { map.hidden[box.checked ? "delete" : "add"](place); draw(); });
    label.append(box, swatch(category), make("bdi", category.name), make("small", category.size.toLocaleString("en")));
    boxes.append(label);
  });
  const buttons = make("p");
  for (const [text, isHidden] of [["Show all", false], ["Hide all", true]]) {
    const button = make("button", text, { type: "button" });
    button.addEventListener("click", () => {
      map.hidden = new Set(isHidden ? map.categories.keys() : []);
      all("input", boxes).forEach((box) => { box.checked = !isHidden; });
      draw();
    });
    buttons.append(button);
  }
  legend.replaceChildren(make("p", "Labeled examples are large and outlined, test examples hollow.", { class: "hint" }), boxes, ...(map.categories.length > 2 ? [buttons] : []));
}

// ---- Drawing ----

function isShown(i) {
  const only = document.getElementById("map-class").value;
  if (map.categoryOf[i] < 0 || map.hidden.has(map.categoryOf[i]) || !map.parts[examples.part[i]].checked) return false;
  return only === "" || predicted(i) === Number(only) || examples.label[i] === Number(only);
}

const PAD = 16;
const screenOf = (i) => [
  (examples.x[i] - map.x) * map.zoom * (map.width - 2 * PAD) + map.width / 2,
  (map.y - examples.y[i]) * map.zoom * (map.height - 2 * PAD) + map.height / 2,
];

function draw() {
  if (!map.waiting) requestAnimationFrame(() => { map.waiting = false; drawNow(); });
  map.waiting = true;
}

function drawNow() {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  map.width = box.width; map.height = box.height;
  canvas.width = Math.round(box.width * ratio); canvas.height = Math.round(box.height * ratio);
  const ink = canvas.getContext("2d"), fore = getComputedStyle(document.body).color, back = getComputedStyle(document.body).backgroundColor;
  map.shown = everyone.filter(isShown);
  const crowd = map.shown.length > 4000 ? 2.2 : map.shown.length > 800 ? 3 : 4.5;
  const radius = Math.min(crowd * Math.sqrt(map.zoom), 7);
  const colors = map.categories.map(colorOf), paths = map.categories.map((category) => PATHS[category.shape]);
  const place = (i, size) => ink.setTransform(size * ratio, 0, 0, size * ratio, map.screenX[i] * ratio, map.screenY[i] * ratio);
  // The pool below, labels on top.
  for (const part of [1, 2, 0]) {
    for (const i of map.shown) {
      if (examples.part[i] !== part) continue;
      [map.screenX[i], map.screenY[i]] = screenOf(i);
      const size = part === 0 ? Math.max(radius + 2, 5) : radius;
      place(i, size);
      const color = colors[map.categoryOf[i]], path = paths[map.categoryOf[i]];
      ink.globalAlpha = part === 0 ? 1 : 0.8;
      ink.fillStyle = ink.strokeStyle = color;
      if (part !== 2) ink.fill(path);
      ink.lineWidth = 1.5 / size;
      if (part === 0) ink.strokeStyle = fore;
      if (part !== 1) ink.stroke(path);
    }
  }
  ink.globalAlpha = 1;
  for (const i of new Set([map.chosen, map.hovered])) {
    if (i < 0 || !isPlaced(i)) continue;
    [map.screenX[i], map.screenY[i]] = screenOf(i);
    for (const [color, width] of [[back, 5], [fore, 2.5]]) {
      place(i, radius + 6);
      ink.lineWidth = width / (radius + 6); ink.strokeStyle = color; ink.stroke(PATHS[0]);
    }
  }
  ink.setTransform(1, 0, 0, 1, 0, 0);
  const placed = map.categoryOf.filter((k) => k >= 0).length;
  document.getElementById("map-count").textContent = `Shown: ${map.shown.length.toLocaleString("en")} of ${counted(placed, "example")}.`;
}

// ---- The example under the pointer ----

let lastTold;

function showPanel() {
  const i = map.hovered >= 0 ? map.hovered : map.chosen, panel = document.getElementById("map-panel");
  if (i < 0) {
    panel.replaceChildren(make("p", "Point at or tap an example, or choose one with the arrow keys.", { class: "hint" }));
    return;
  }
  const heading = make("h3");
  heading.append(make("bdi", exampleName(i)));
  const shown = medium(i) || make("p", "No preview of this example is kept.", { class: "hint" });
  const where = make("p", `${PARTS[examples.part[i]]}, row ${examples.row[i]}${i === map.chosen ? ", kept here until Escape" : ""}`, { class: "hint" });
  panel.replaceChildren(heading, shown, facts(i), where);
  // Not each point that the pointer runs across.
  clearTimeout(lastTold);
  lastTold = setTimeout(() => { document.getElementById("map-live").textContent = told(i); }, 200);
}

function hover(i) {
  if (i === map.hovered) return;
  map.hovered = i;
  showPanel(); draw();
}

function choose(i) {
  map.chosen = i; map.hovered = -1;
  showPanel(); draw();
}

function nearest(x, y, farthest) {
  let found = -1, least = farthest * farthest;
  for (const i of map.shown) {
    const far = (map.screenX[i] - x) ** 2 + (map.screenY[i] - y) ** 2;
    if (far <= least) { least = far; found = i; }
  }
  return found;
}

// The nearest example to the left, right, top or bottom of the current one.
function neighbor(right, down) {
  const from = map.hovered >= 0 ? map.hovered : map.chosen;
  if (from < 0) return nearest(map.width / 2, map.height / 2, Infinity);
  let found = from, least = Infinity;
  for (const i of map.shown) {
    const x = map.screenX[i] - map.screenX[from], y = map.screenY[i] - map.screenY[from];
    const along = x * right + y * down, aside = Math.abs(x * down) + Math.abs(y * right);
    if (i === from || along < 0.5 || aside > along) continue;
    if (along + 2 * aside < least) { least = along + 2 * aside; found = i; }
  }
  return found;
}

// ---- Moving ----

function look(x, y, zoom) {
  map.zoom = Math.min(Math.max(zoom, 1), 60);
  const room = 0.5 / map.zoom;
  map.x = Math.min(Math.max(x, room), 1 - room); map.y = Math.min(Math.max(y, room), 1 - room);
  // One finger scrolls the page as long as there is nothing to move.
  canvas.style.touchAction = map.zoom > 1 ? "none" : "pan-y";
  draw();
}

function zoomAt(factor, x = map.width / 2, y = map.height / 2) {
  const zoom = Math.min(Math.max(map.zoom * factor, 1), 60), right = (x - map.width / 2) / (map.width - 2 * PAD), up = (map.height / 2 - y) / (map.height - 2 * PAD);
  look(map.x + right / map.zoom - right / zoom, map.y + up / map.zoom - up / zoom, zoom);
}

function bringIntoView(i) {
  const [x, y] = screenOf(i);
  if (x < 0 || y < 0 || x > map.width || y > map.height) look(examples.x[i], examples.y[i], map.zoom);
}

function findOnMap(i) {
  document.getElementById("map-class").value = "";
  map.hidden.clear(); map.parts[examples.part[i]].checked = true;
  showLegend();
  look(examples.x[i], examples.y[i], Math.max(map.zoom, 4));
  choose(i);
  canvas.focus();
  canvas.scrollIntoView({ block: "center" });
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const current = map.hovered >= 0 ? map.hovered : map.chosen;
  if (event.key in KEYS) {
    const next = neighbor(...KEYS[event.key]);
    if (next >= 0) { bringIntoView(next); hover(next); }
  } else if (event.key === "Enter" && current >= 0) choose(current);
  else if (event.key === "Escape") choose(-1);
  else if (event.key === "+" || event.key === "=") zoomAt(1.5);
  else if (event.key === "-") zoomAt(1 / 1.5);
  else if (event.key === "0") look(0.5, 0.5, 1);
  else return;
  event.preventDefault();
}

let drag = null;

function listen() {
  canvas.addEventListener("keydown", press);
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.offsetX, y: event.offsetY, mapX: map.x, mapY: map.y, isMove: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) { hover(nearest(event.offsetX, event.offsetY, 14)); return; }
    const x = event.offsetX - drag.x, y = event.offsetY - drag.y;
    drag.isMove = drag.isMove || Math.hypot(x, y) > 5;
    if (drag.isMove) look(drag.mapX - x / map.zoom / (map.width - 2 * PAD), drag.mapY + y / map.zoom / (map.height - 2 * PAD), map.zoom);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.isMove) choose(nearest(event.offsetX, event.offsetY, 18));
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { if (!drag) hover(-1); });
  canvas.addEventListener("dblclick", (event) => zoomAt(2, event.offsetX, event.offsetY));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  document.getElementById("zoom-in").addEventListener("click", () => zoomAt(1.5));
  document.getElementById("zoom-out").addEventListener("click", () => zoomAt(1 / 1.5));
  document.getElementById("zoom-all").addEventListener("click", () => look(0.5, 0.5, 1));
  document.getElementById("map-color").addEventListener("change", colorMap);
  document.getElementById("map-class").addEventListener("change", draw);
  document.getElementById("map-parts").addEventListener("change", draw);
  document.getElementById("map-form").addEventListener("submit", (event) => event.preventDefault());
  new ResizeObserver(draw).observe(canvas);
}

function startMap() {
  const choices = methods.map((method, k) => [k, `class by ${method}`]).reverse();
  if (examples.label.some((k) => k >= 0)) choices.push(["label", "label"]);
  if (everyone.some(isKnown)) choices.push(["right", "right or wrong"]);
  choices.push(["part", "part"], ...numbersKnown.map((name) => [name, NUMBERS[name]]));
  options(document.getElementById("map-color"), choices);
  options(document.getElementById("map-class"), data.classes.map((name, k) => [k, name]));
  map.parts = PARTS.map((part, k) => {
    const label = make("label", null, { class: "check" }), box = make("input", null, { type: "checkbox" });
    box.checked = true;
    const size = examples.part.filter((of) => of === k).length;
    label.append(box, ` ${part} (${size.toLocaleString("en")})`);
    if (size) document.querySelector("#map-parts").append(label);
    return box;
  });
  listen();
  colorMap();
  showPanel();
}

if (canvas) startMap();
