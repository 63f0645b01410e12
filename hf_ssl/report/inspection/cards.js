// ---- The examples as cards ----

const ORDERS = [
  ["confidence", 1, "least confident"], ["confidence", -1, "most confident"], ["disagreement", -1, "methods disagree"],
  ["change", -1, "changed in training"], ["foreign", -1, "foreign to the labels"], ["row", 1, "in the order of the data"],
];
// Few at once where they are below each other.
const STEP = matchMedia("(max-width: 40rem)").matches ? 12 : 24;
const cardsForm = document.getElementById("cards-form");
let found = [], shownCards = 0;

function card(i) {
  const item = make("li"), heading = make("h3"), shown = medium(i);
  heading.append(make("bdi", exampleName(i)));
  item.append(...(shown ? [shown] : []), heading, facts(i));
  const where = make("p", `${PARTS[examples.part[i]]}, row ${examples.row[i]}`, { class: "hint" });
  if (canvas && isPlaced(i)) {
    const button = make("button", "On the map", { type: "button", class: "link", "aria-label": `On the map: ${exampleName(i)}` });
    button.addEventListener("click", () => findOnMap(i));
    where.append(" · ", button);
  }
  item.append(where);
  return item;
}

function select() {
  const value = (name) => document.getElementById(`cards-${name}`).value;
  const isChecked = (name) => Boolean(document.getElementById(`cards-${name}`)?.checked);
  const [name, sign] = ORDERS[value("sort")];
  const part = value("part"), label = value("label"), by = value("predicted");
  const fits = everyone.filter((i) => (part === "" || examples.part[i] === Number(part)) && (label === "" || examples.label[i] === Number(label)) &&
    (by === "" || predicted(i) === Number(by)) && (!isChecked("wrong") || isWrong(i)));
  const hasPreviews = document.getElementById("cards-bare") !== null;
  found = hasPreviews && !isChecked("bare") ? fits.filter(hasMedium) : fits;
  const values = examples[name];
  // What is unknown comes last.
  found.sort((a, b) => (isNumber(values[b]) - isNumber(values[a])) || sign * (values[a] - values[b]) || a - b);
  shownCards = 0;
  document.getElementById("cards").replaceChildren();
  showMore();
  const hiddenOnes = fits.length - found.length;
  const rest = hiddenOnes ? ` ${counted(hiddenOnes, "further example")} without a preview.` : "";
  document.getElementById("cards-count").textContent = `${counted(found.length, "example")}${found.length ? "" : ": nothing fits these filters"}.${rest}`;
}

function showMore() {
  const next = found.slice(shownCards, shownCards + STEP), list = document.getElementById("cards");
  list.append(...next.map(card));
  shownCards += next.length;
  const more = document.getElementById("cards-more");
  more.hidden = shownCards >= found.length;
  more.textContent = `Show more (${shownCards.toLocaleString("en")} of ${found.length.toLocaleString("en")})`;
}

// Cards of one kind of error, from the list of confused pairs.
function showPair(label, by) {
  cardsForm.reset();
  document.getElementById("cards-label").value = label;
  document.getElementById("cards-predicted").value = by;
  select();
  if (!found.length && document.getElementById("cards-bare")) { document.getElementById("cards-bare").checked = true; select(); }
  document.getElementById("examples").scrollIntoView();
  document.getElementById("cards-label").focus({ preventScroll: true });
}

function startCards() {
  const orders = ORDERS.map(([name, , text], place) => [place, text, name]).filter(([, , name]) => name === "row" || numbersKnown.includes(name));
  options(document.getElementById("cards-sort"), orders);
  const parts = PARTS.map((part, k) => [k, part]).filter(([k]) => examples.part.includes(k));
  options(document.getElementById("cards-part"), [["", "all"], ...parts]);
  const classes = data.classes.map((name, k) => [k, name]);
  options(document.getElementById("cards-label"), classes);
  options(document.getElementById("cards-predicted"), classes);
  document.getElementById("cards-label").closest("label").hidden = !examples.label.some((k) => k >= 0);
  document.getElementById("cards-wrong-choice").hidden = !everyone.some(isKnown);
  cardsForm.addEventListener("change", select);
  cardsForm.addEventListener("reset", () => setTimeout(select));
  cardsForm.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("cards-more").addEventListener("click", showMore);
  select();
}

if (cardsForm) startCards();
