// Tags, corrected labels and notes of a person: kept in the browser, exported and imported as CSV.

const NOTES_KEY = `seefar notes ${page.run} ${page.fingerprint}`;
const NOTE_COLUMNS = ["tag", "new_label", "note"];
const notes = new Map(readStored());

function readStored() {
  try {
    return JSON.parse(localStorage.getItem(NOTES_KEY)) ?? [];
  } catch {
    return []; // no storage, as in a notebook: notes are lost when the page is closed
  }
}

function storeNotes() {
  try {
    localStorage.setItem(NOTES_KEY, JSON.stringify([...notes]));
  } catch { /* as above */ }
  mistakes.forEach(({ tile, index }) => tile?.classList.toggle("noted", notes.has(String(index))));
  fillMenu("set");
  countOptions();
  byId("export-notes").disabled = !notes.size;
}

/** Subsets of the mistakes that come from notes. */
function noteSets({ index }) {
  const note = notes.get(String(index));
  return note ? ["my notes", note.new_label && "corrected label", note.tag && `tag ${note.tag}`].filter(Boolean) : [];
}

function setNote(index, change) {
  const note = { tag: "", new_label: "", note: "", ...notes.get(index), ...change };
  if (NOTE_COLUMNS.some((column) => note[column])) notes.set(index, note);
  else notes.delete(index);
  storeNotes();
}

function showNote(mistake) {
  byId("part-notes").hidden = mistake.number < 0;
  const note = notes.get(String(mistake.index)) ?? {};
  for (const column of NOTE_COLUMNS) byId(`note-${column}`).value = note[column] ?? "";
  byId("part-notes").open = notes.has(String(mistake.index));
}

function notesCsv() {
  const rows = [...notes].sort(([a], [b]) => a - b).map(([index, note]) => [index, ...NOTE_COLUMNS.map((column) => cell(note[column]))]);
  return [["index", ...NOTE_COLUMNS], ...rows].map((row) => row.join(",")).join("\n") + "\n";
}

/** The rows of CSV text: quoted cells may hold commas, quotes and line breaks. */
function csvRows(text) {
  const rows = [[]];
  for (const [, quoted, bare, end] of text.replace(/^\ufeff/, "").matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.some(Boolean));
}

/** Import notes from CSV text; returns their number, or throws a description of the problem. */
function importNotes(text) {
  const [head = [], ...rows] = csvRows(text);
  if (head.join() !== ["index", ...NOTE_COLUMNS].join()) throw new Error(`The first line must be index,${NOTE_COLUMNS.join()}.`);
  const found = rows.map(([index, ...values], at) => {
    const plain = values.map((value) => value.replace(/^'(?=[=+\-@\t\r])/, ""));
    const note = Object.fromEntries(NOTE_COLUMNS.map((column, number) => [column, plain[number] ?? ""]));
    if (!/^\d+$/.test(index)) throw new Error(`Line ${at + 2}: ${index} is not an index of an image.`);
    if (note.new_label && !classes.includes(note.new_label)) throw new Error(`Line ${at + 2}: there is no class ${note.new_label}.`);
    return [index, note];
  });
  found.forEach(([index, note]) => notes.set(index, note));
  storeNotes();
  return found.length;
}

byId("note-new_label").replaceChildren(new Option("is right", ""), ...classes.map((name) => new Option(`is wrong: it is ${name}`, name)));
for (const column of NOTE_COLUMNS) {
  byId(`note-${column}`).addEventListener("input", ({ target }) => setNote(String(seen.index), { [column]: target.value.trim() }));
}
const notesMenu = document.querySelector(".menu");
document.addEventListener("click", (event) => { if (!notesMenu.contains(event.target)) notesMenu.open = false; });
notesMenu.addEventListener("keydown", (event) => { if (event.key === "Escape") notesMenu.open = false; });
byId("export-notes").addEventListener("click", () => {
  save("notes.csv", [notesCsv()], "text/csv");
  notesMenu.open = false;
});
byId("import-notes").addEventListener("click", () => byId("notes-file").click());
byId("notes-file").addEventListener("change", async ({ target }) => {
  try {
    byId("notes-status").textContent = `${counted(importNotes(await target.files[0].text()), "note")} imported`;
  } catch (error) {
    byId("notes-status").textContent = error.message;
  }
  target.value = "";
});
