"use strict";
// One example at a time. Every answer is sent and saved before the next example is shown.
const at = (id) => document.getElementById(id);
let state = null;
let row = null;
let busy = false;

async function ask(path, sent) {
  const options = sent === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("hf-ssl label has ended; start it again to go on. What was answered is saved.");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function say(text, bad = false) {
  at("said").textContent = text;
  at("said").classList.toggle("bad", bad);
}

// What is being done must end before the next thing begins: a key that is held down answers once.
async function once(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    busy = false;
  }
}

function nextOpen(after) {
  const count = state.labels.length;
  for (let step = 1; step <= count; step++) {
    const place = (after + step) % count;
    if (!state.labels[place]) return place;
  }
  return null;
}

function drawCounts() {
  const done = state.labels.filter(Boolean).length;
  at("name").textContent = document.title = state.name;
  at("count").textContent = `${done.toLocaleString("en")} of ${state.labels.length.toLocaleString("en")} labeled`;
  at("progress").max = state.labels.length;
  at("progress").value = done;
}

function drawClasses() {
  const held = document.activeElement && document.activeElement.dataset.name;
  at("classes").replaceChildren(...state.classes.map((name, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.name = name;
    if (place < 9) {
      const key = document.createElement("kbd");
      key.textContent = place + 1;
      button.append(key, " ");
    }
    button.append(name);
    button.setAttribute("aria-pressed", String(row !== null && state.labels[row] === name));
    button.addEventListener("click", () => answer(name));
    if (name === held) requestAnimationFrame(() => button.focus());
    return button;
  }));
  if (!state.classes.length) at("classes").textContent = "No classes yet: name the first one.";
}

function element(kind, properties) {
  return Object.assign(document.createElement(kind), properties);
}

async function show(place) {
  row = place;
  drawCounts();
  drawClasses();
  const found = await ask(`row/${place}`);
  const label = state.labels[place] ? `, labeled ${state.labels[place]}` : "";
  const file = state.modality === "text" ? "" : `: ${found.shown[0]}`;
  at("caption").textContent = `${(place + 1).toLocaleString("en")} of ${state.labels.length.toLocaleString("en")}${file}${label}`;
  at("example").classList.toggle("pair", found.shown.length > 1);
  const broken = () => at("example").replaceChildren(element("p", { textContent: `${found.shown[0]} cannot be shown or played.` }));
  if (state.modality === "text") {
    at("example").replaceChildren(...found.shown.map((text) => element("div", { className: "text", textContent: text })));
  } else if (state.modality === "image") {
    const picture = element("img", { src: `media/${place}`, alt: `the picture ${found.shown[0]}` });
    picture.addEventListener("load", () => picture.classList.toggle("small", picture.naturalWidth < 200));
    picture.addEventListener("error", broken);
    at("example").replaceChildren(picture);
  } else {
    const sound = element("audio", { src: `media/${place}`, controls: true, autoplay: true });
    sound.addEventListener("error", broken);
    at("example").replaceChildren(sound);
  }
}

function goOn() {
  const next = nextOpen(row === null ? -1 : row);
  if (next !== null) return show(next);
  drawCounts();
  drawClasses();
  say("All are labeled. Go back to change an answer, or finish.");
  at("end").focus();
}

function answer(name) {
  const place = row;
  return once(async () => {
    if (place === null) return;
    state = await ask("answer", { row: place, label: name });
    say(`${name}: saved.`);
    if (nextOpen(place) === null) await show(place);
    await goOn();
  });
}

function step(by) {
  return once(async () => {
    const count = state.labels.length;
    say("");
    await show((row + by + count) % count);
  });
}

function undo() {
  return once(async () => {
    state = await ask("undo", {});
    if (state.row === null) return say("There is nothing to take back.");
    await show(state.row);
    say("Taken back.");
  });
}

at("back").addEventListener("click", () => step(-1));
at("skip").addEventListener("click", () => step(1));
at("undo").addEventListener("click", undo);
at("open").addEventListener("click", () => once(async () => { say(""); await goOn(); }));
at("end").addEventListener("click", () => once(async () => {
  await ask("end", {});
  document.body.replaceChildren(element("main", { innerText: "Finished. Every answer is saved; you can close this page." }));
}));
at("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("new").value.trim().replace(/\s+/g, " ");
  if (!name) return say("Type the name of the class first.", true);
  at("new").value = "";
  at("new").blur();
  answer(name);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || state === null) return;
  if (event.target === at("new")) {
    if (event.key === "Escape") at("new").blur();
    return;
  }
  const place = "123456789".indexOf(event.key);
  const sound = document.querySelector("audio");
  const on = event.target;
  if (on.tagName === "AUDIO" && event.key.startsWith("Arrow")) return;
  if (place >= 0 && place < state.classes.length) answer(state.classes[place]);
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else if (event.key.toLowerCase() === "u") undo();
  else if (event.key.toLowerCase() === "o") at("open").click();
  else if (event.key.toLowerCase() === "n") at("new").focus();
  else if (event.key === " " && sound && on.tagName !== "BUTTON" && on.tagName !== "AUDIO") sound.paused ? sound.play() : sound.pause();
  else return;
  event.preventDefault();
});

once(async () => {
  state = await ask("state");
  const first = nextOpen(-1);
  await show(first === null ? 0 : first);
  if (first === null) await goOn();
});
