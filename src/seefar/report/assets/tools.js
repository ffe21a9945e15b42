// Small tools: shares in the confusion matrix, a threshold of the confidence, a card as a link or an image.

const matrixCells = [...byId("matrix").tBodies[0].rows].flatMap((row) => [...row.cells].slice(1, -1).filter(({ textContent }) => textContent)
  .map((cell) => ({ holder: cell.firstElementChild ?? cell, count: Number(cell.textContent), total: Number(row.dataset.n) })));
byId("shares").addEventListener("change", ({ target }) => matrixCells.forEach(({ holder, count, total }) => {
  if (count) holder.textContent = target.checked ? percent(count / total) : count;
}));

/** The coverage and accuracy if only predictions with at least this confidence count. */
function showThreshold() {
  const at = Number(byId("threshold").value), answered = page.coverage.answered[at], right = page.coverage.right[at], all = page.coverage.answered[0];
  byId("threshold-value").textContent = `${at}%`;
  const exact = (share) => `${(100 * share).toFixed(1)}%`, kept = `${exact(answered / all)} of the images are predicted`;
  byId("threshold-words").textContent = answered ? `${kept}, ${exact(right / answered)} of them correctly; ${answered - right} of ${counted(all - page.coverage.right[0], "mistake")} remain.` : "No image is predicted.";
}
if (page.coverage) {
  byId("threshold").addEventListener("input", showThreshold);
  showThreshold();
}

async function copyLink({ target }) {
  try {
    await navigator.clipboard.writeText(location.href);
    target.textContent = "Copied";
    setTimeout(() => { target.textContent = "Copy link"; }, 1500);
  } catch {
    prompt("The address of this card:", location.href);
  }
}

/** The card as one image: title, the panels with their names, the facts. */
function cardPicture() {
  const ids = viewOf(seen).maps ? ["picture", "contrast", "predicted", "true"] : ["picture"], side = 320, gap = 20, line = 26;
  const facts = [...byId("card-facts").children].map(({ textContent }) => textContent);
  const cause = byId("part-fault").hidden ? [] : [byId("card-fault").textContent];
  const words = [...(seen.outcome === undefined ? [] : [facts.join(" · ")]), ...cause];
  const canvas = element("canvas", "", { width: Math.max(4 * (side + gap) + gap, 800), height: 150 + side + line * (1 + words.length) });
  const context = canvas.getContext("2d"), style = getComputedStyle(dialog);
  const write = (text, x, y, font, colour = style.color) => {
    Object.assign(context, { font: `${font} ${style.fontFamily}`, fillStyle: colour });
    context.fillText(text, x, y, canvas.width - x - gap);
  };
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  write(byId("card-title").textContent, gap, 52, "600 34px");
  write(`${page.run} · test image ${seen.index}`, gap, 84, "18px");
  context.imageSmoothingEnabled = false;
  ids.forEach((id, number) => {
    const x = gap + number * (side + gap);
    context.drawImage(byId(`card-${id}`), x, 104, side, side);
    write(byId(`${id}-name`).textContent, x, 104 + side + line, "18px");
  });
  words.forEach((text, number) => write(text, gap, 104 + side + line * (2.2 + number), "18px"));
  return canvas;
}

byId("copy-link").addEventListener("click", copyLink);
byId("save-picture").addEventListener("click", () => cardPicture().toBlob((blob) => save(`${seen.index}.png`, [blob], "image/png")));
