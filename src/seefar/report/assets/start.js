// The last script: fill the page, load the pictures, open the state in the address.

Object.keys(MENUS).forEach(fillMenu);
const judged = mistakes.some((mistake) => mistake.disagreement !== undefined);
for (const [name, [text]] of Object.entries(ORDERS)) if (name !== "like" && (judged || name !== "people")) form.elements.order.append(new Option(text.replace(" first", ""), name));
const longest = Math.max(0, ...mistakes.map((mistake) => classes[mistake.true].length + classes[wrongClass(mistake)].length));
list.classList.toggle("long-names", longest > 20);
form.elements.order.append(new Option("", "like"));
state = { ...readAddress(location.hash), card: "" };
showTiles();
storeNotes();
Sheet.load(page.pictures).then((sheet) => {
  pictures = sheet;
  tilesInPage().forEach((tile) => tile.near && paintTile(tile));
  go(readAddress(location.hash), null);
  drawLandscape();
  const address = new URLSearchParams(location.hash.slice(1)), at = address.get("at");
  if (location.hash.includes("=")) byId(links.has(at) ? at : "mistakes").scrollIntoView({ behavior: "instant" });
  document.documentElement.dataset.ready = "";
  makeTilesAhead();
});
