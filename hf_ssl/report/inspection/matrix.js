// ---- The confusion matrix of many classes, as a picture ----

const matrix = document.getElementById("matrix-canvas");
const cell = { row: 0, column: 0 };

function startMatrix() {
  const { classes, examples: sizes, pairs } = data.confusion;
  const number = classes.length, counts = new Map(pairs.map(([row, column, count]) => [row * number + column, count]));
  let left = 0, side = 0;

  function drawMatrix() {
    const width = matrix.getBoundingClientRect().width, ratio = window.devicePixelRatio || 1;
    const color = (name) => { const probe = make("i"); probe.style.color = `var(--${name})`; document.body.append(probe); const found = getComputedStyle(probe).color; probe.remove(); return found; };
    const ink = matrix.getContext("2d"), [fore, good, bad, line] = ["fore", "good", "bad", "line"].map(color);
    ink.font = "12px system-ui, sans-serif";
    const longest = Math.min(width * 0.28, 150, Math.max(...classes.map((k) => ink.measureText(className(k)).width)));
    left = longest + 8; side = (width - left - 2) / number;
    // As high as wide: the names of the columns stand upright.
    matrix.style.height = `${width}px`;
    matrix.width = matrix.height = Math.round(width * ratio);
    ink.scale(ratio, ratio);
    const size = Math.min(Math.max(side, 9), 12), every = Math.ceil(size / side);
    ink.font = `${size}px system-ui, sans-serif`;
    ink.textBaseline = "middle"; ink.fillStyle = fore;
    for (let k = 0; k < number; k += every) {
      let name = className(classes[k]);
      while (name.length > 1 && ink.measureText(name).width > longest) name = `${name.slice(0, -2)}…`;
      ink.textAlign = "right";
      ink.fillText(name, left - 4, left + (k + 0.5) * side);
      ink.save();
      ink.translate(left + (k + 0.5) * side, left - 4); ink.rotate(-Math.PI / 2); ink.textAlign = "left";
      ink.fillText(name, 0, 0);
      ink.restore();
    }
    ink.strokeStyle = line;
    ink.strokeRect(left, left, number * side, number * side);
    for (const [row, column, count] of pairs) {
      ink.globalAlpha = 0.3 + 0.7 * Math.min(count / Math.max(sizes[row], 1), 1);
      ink.fillStyle = row === column ? good : bad;
      ink.fillRect(left + column * side, left + row * side, Math.max(side - 0.4, 0.6), Math.max(side - 0.4, 0.6));
    }
    ink.globalAlpha = 1;
    ink.strokeStyle = fore; ink.lineWidth = 2;
    ink.strokeRect(left + cell.column * side - 1, left + cell.row * side - 1, side + 2, side + 2);
  }

  function read(row, column) {
    if (row < 0 || column < 0 || row >= number || column >= number) return;
    cell.row = row; cell.column = column;
    const count = counts.get(row * number + column) || 0, share = sizes[row] ? `, ${percent(count / sizes[row])} of the class` : "";
    const words = row === column ? "recognized" : `taken for ${className(classes[column])}`;
    document.getElementById("matrix-cell").textContent = `${className(classes[row])}, ${words}: ${counted(count, "example")}${share}`;
    requestAnimationFrame(drawMatrix);
  }

  matrix.addEventListener("pointermove", (event) => read(Math.floor((event.offsetY - left) / side), Math.floor((event.offsetX - left) / side)));
  matrix.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    read(cell.row + KEYS[event.key][1], cell.column + KEYS[event.key][0]);
  });
  new ResizeObserver(() => requestAnimationFrame(drawMatrix)).observe(matrix.parentElement);
  document.addEventListener("themechange", drawMatrix);
  read(0, 0);
}

if (matrix) startMatrix();
