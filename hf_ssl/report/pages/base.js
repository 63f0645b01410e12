"use strict";
// The first script of every page: its data, how elements are made, and tables that sort.
// Texts are only ever put in as text (textContent), never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (name, text, attributes = {}) => {
  const element = document.createElement(name);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

// ---- Sorting ----

// Columns of names sort as texts; others as numbers if any of their cells begins with one, and what is none comes last.
function sortBy(table, column) {
  const heads = all("thead th", table), head = heads[column], body = table.tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending";
  const rows = [...body.rows];
  const number = (text) => parseFloat(text.replace("< ", "").replaceAll(",", ""));
  const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
  const areNumbers = rows.some((row) => row.cells[column].tagName !== "TH" && !Number.isNaN(number(texts.get(row))));
  const found = new Map(rows.map((row) => [row, areNumbers ? number(texts.get(row)) : texts.get(row)]));
  rows.sort((a, b) => {
    const one = found.get(a), other = found.get(b);
    if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other);
    const order = areNumbers ? one - other : one.localeCompare(other, "en", { numeric: true });
    return down ? -order : order;
  });
  body.append(...rows);
  heads.forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
}

all("table.sortable").forEach((table) => all("thead th", table).forEach((head, column) => {
  const button = make("button", null, { type: "button" });
  // The mark of the order follows the first line of the name.
  button.append(...head.childNodes);
  button.insertBefore(make("i", null, { "aria-hidden": "true" }), button.querySelector("span"));
  head.append(button);
  head.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => sortBy(table, column));
}));

