// ---- The map: every example as a point on a canvas ----

const canvas = document.getElementById("map-canvas");
const map = {
  zoom: 1, x: 0.5, y: 0.5, width: 0, height: 0, hovered: -1, chosen: -1, waiting: false, isStale: true, shown: [],
  categories: [], categoryOf: [], hidden: new Set(), screenX: new Float32Array(everyone.length), screenY: new Float32Array(everyone.length),
};

// ---- What is colored ----

function colorMap() {
  const [categories, keyOf] = categoriesOf(document.getElementById("map-color").value);
  const places = new Map(categories.map((category, place) => [category.key, place]));
  map.categories = categories;
  map.categoryOf = everyone.map((i) => (isPlaced(i) ? places.get(keyOf(i)) : -1));
  map.hidden.clear();
  showLegend();
  draw();
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

// The points, on a layer that stays while only the marked example changes.
function draw() { map.isStale = true; mark(); }

function mark() {
  if (!map.waiting) requestAnimationFrame(() => { map.waiting = false; drawNow(); });
  map.waiting = true;
}

const layer = document.createElement("canvas");

function drawPoints(width, height, ratio, fore) {
  layer.width = width; layer.height = height;
  const ink = layer.getContext("2d"), colors = map.categories.map(colorOf), paths = map.categories.map((category) => PATHS[category.shape]);
  map.shown = everyone.filter(isShown);
  const crowd = map.shown.length > 4000 ? 2.2 : map.shown.length > 800 ? 3 : 4.5;
  map.radius = Math.min(crowd * Math.sqrt(map.zoom), 7);
  // The pool below, labels on top.
  for (const part of [1, 2, 0]) {
    const size = part === 0 ? Math.max(map.radius + 2, 5) : map.radius;
    ink.globalAlpha = part === 0 ? 1 : 0.8;
    ink.lineWidth = 1.5 / size;
    for (const i of map.shown) {
      if (examples.part[i] !== part) continue;
      [map.screenX[i], map.screenY[i]] = screenOf(i);
      if (map.screenX[i] < -PAD || map.screenX[i] > map.width + PAD || map.screenY[i] < -PAD || map.screenY[i] > map.height + PAD) continue;
      ink.setTransform(size * ratio, 0, 0, size * ratio, map.screenX[i] * ratio, map.screenY[i] * ratio);
      ink.fillStyle = ink.strokeStyle = colors[map.categoryOf[i]];
      if (part !== 2) ink.fill(paths[map.categoryOf[i]]);
      if (part === 0) ink.strokeStyle = fore;
      if (part !== 1) ink.stroke(paths[map.categoryOf[i]]);
    }
  }
  const placed = map.categoryOf.filter((k) => k >= 0).length;
  document.getElementById("map-count").textContent = `Shown: ${map.shown.length.toLocaleString("en")} of ${counted(placed, "example")}.`;
}

function drawNow() {
  const ratio = window.devicePixelRatio || 1, style = getComputedStyle(document.body);
  map.width = canvas.clientWidth; map.height = canvas.clientHeight;
  if (!map.width) return;
  canvas.width = Math.round(map.width * ratio); canvas.height = Math.round(map.height * ratio);
  if (map.isStale) drawPoints(canvas.width, canvas.height, ratio, style.color);
  map.isStale = false;
  const ink = canvas.getContext("2d");
  ink.drawImage(layer, 0, 0);
  for (const i of new Set([map.chosen, map.hovered])) {
    if (i < 0 || !isPlaced(i)) continue;
    const [x, y] = screenOf(i), size = map.radius + 6;
    ink.setTransform(size * ratio, 0, 0, size * ratio, x * ratio, y * ratio);
    for (const [color, width] of [[style.backgroundColor, 5], [style.color, 2.5]]) {
      ink.lineWidth = width / size; ink.strokeStyle = color; ink.stroke(PATHS[0]);
    }
  }
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
  showPanel(); mark();
}

function choose(i) {
  map.chosen = i; map.hovered = -1;
  showPanel(); mark();
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
