"use strict";
// The table of targets: sorts by its headings, filters by words, shows some rows at a time.
// Cells are made as text, never as markup, and are formatted as the first rows were when the page was made.
(() => {
  const byId = (id) => document.getElementById(id);
  const { page, columns, rows } = JSON.parse(byId("data").textContent);
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const table = byId("rows");
  const headings = [...table.tHead.rows[0].cells];
  const [filter, status, previous, next] = ["filter", "status", "previous", "next"].map(byId);

  const grouped = (number) => String(Math.abs(number)).replace(/\B(?=(\d{3})+$)/g, ",");
  const sign = (number) => (number < 0 ? "\u2212" : "");
  const plus = (number) => (number > 0 ? "+" : sign(number));
  const money = (micros) => {
    const [size, minus] = [Math.abs(micros), micros < 0 ? "-" : ""];
    if (size > 0 && size < 100000) {
      return minus + "$0." + String(Math.ceil(size / 100)).padStart(4, "0");
    }
    const cents = Math.floor((size + 5000) / 10000);
    return minus + "$" + grouped(Math.floor(cents / 100)) + "." + String(cents % 100).padStart(2, "0");
  };
  const shown = {
    text: (value) => value,
    choice: (value, column) => column.texts[value],
    count: (value) => sign(value) + grouped(value),
    signed: (value) => plus(value) + grouped(value),
    percent: (value) => plus(value) + grouped(Math.trunc(Math.abs(value) / 10)) + "." + (Math.abs(value) % 10) + " %",
    month: (value) => months[value % 12] + " " + Math.floor(value / 12),
    money,
  };
  const isText = (column) => column.kind === "text" || column.kind === "choice";
  const cell = (row, index) => (row[index] === null ? "" : shown[columns[index].kind](row[index], columns[index]));

  const textColumns = columns.map((column, index) => (isText(column) ? index : -1)).filter((index) => index >= 0);
  const searchable = rows.map((row) => textColumns.map((index) => cell(row, index)).join("\n").toLowerCase());
  let order = rows.map((row, index) => index);
  let found = order;
  let first = 0;

  const show = () => {
    const body = document.createElement("tbody");
    for (const index of found.slice(first, first + page)) {
      const line = body.insertRow();
      columns.forEach((column, place) => {
        const field = line.insertCell();
        field.textContent = cell(rows[index], place);
        if (!isText(column)) {
          field.className = "n";
        }
      });
    }
    table.tBodies[0].replaceWith(body);
    const last = Math.min(first + page, found.length);
    const of = grouped(found.length) + (found.length === 1 ? " target" : " targets");
    const among = found.length < rows.length ? " that match, of " + grouped(rows.length) : "";
    status.textContent = found.length === 0 ? "No target matches" : grouped(first + 1) + " to " + grouped(last) + " of " + of + among;
    previous.disabled = first === 0;
    next.disabled = last === found.length;
    previous.hidden = next.hidden = rows.length <= page;
  };

  const search = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    found = order.filter((index) => words.every((word) => searchable[index].includes(word)));
    first = 0;
    show();
  };

  const sort = (index) => {
    const heading = headings[index];
    const column = columns[index];
    const before = heading.getAttribute("aria-sort");
    const ascending = before === null ? isText(column) : before === "descending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = (row) => (row[index] === null ? null : column.kind === "choice" ? column.texts[row[index]] : row[index]);
    const keys = rows.map(key);
    const direction = ascending ? 1 : -1;
    // What is not known comes last either way; what is equal stays in the order of the page.
    order = rows.map((row, place) => place).sort((one, other) => {
      const [a, b] = [keys[one], keys[other]];
      if (a === b) return one - other;
      if (a === null || b === null) return a === null ? 1 : -1;
      return a < b ? -direction : direction;
    });
    search();
  };

  const turn = (pages) => {
    first += pages * page;
    show();
    table.parentElement.scrollIntoView({ block: "start" });
  };

  headings.forEach((heading, index) => {
    const button = heading.querySelector("button");
    button.disabled = false;
    button.addEventListener("click", () => sort(index));
  });
  filter.addEventListener("input", search);
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  byId("tools").hidden = false;
  show();
})();
