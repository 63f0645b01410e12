// ---- Theme, lists of examples, and the command ----

const themeChoice = document.getElementById("theme");

function setTheme(wanted) {
  if (wanted) document.documentElement.dataset.theme = wanted; else delete document.documentElement.dataset.theme;
  document.dispatchEvent(new Event("themechange"));
}

document.getElementById("theme-choice").hidden = false;
themeChoice.addEventListener("change", () => setTheme(themeChoice.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
if (canvas) document.addEventListener("themechange", () => { showLegend(); draw(); });

// Label errors and duplicates: their media, and a few first.
const FIRST = matchMedia("(max-width: 40rem)").matches ? 4 : 12;

all("ol.found").forEach((list) => {
  const items = all("li", list), shown = make("button", `Show all ${items.length}`, { type: "button", class: "action" });
  all("figure", list).forEach((figure) => {
    figure.prepend(medium(Number(figure.dataset.example)) || make("p", "no preview", { class: "hint" }));
  });
  items.forEach((item, place) => { item.hidden = place >= FIRST; });
  if (items.length <= FIRST) return;
  list.after(shown);
  shown.addEventListener("click", () => {
    items.forEach((item) => { item.hidden = false; });
    items[FIRST].tabIndex = -1;
    items[FIRST].focus();
    shown.remove();
  });
});

if (cardsForm) all("table.pairs tbody tr").forEach((row) => {
  const name = row.cells[0], button = make("button", null, { type: "button", class: "link", title: "Show these examples" });
  button.append(...name.childNodes);
  name.append(button);
  button.addEventListener("click", () => showPair(row.dataset.true, row.dataset.predicted));
});

const copy = document.getElementById("copy");

if (copy) copy.addEventListener("click", async () => {
  const command = document.getElementById("command"), said = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(command.textContent);
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(command);
    said.textContent = "Selected: copy it with Ctrl+C.";
  }
});
