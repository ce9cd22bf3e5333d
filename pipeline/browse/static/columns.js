// What a column means, and how its values are spread over the rows that the other filters let pass.
"use strict";

async function showColumn(name) {
  const {help, bins} = await (await ask(of(`/api/${shown}/values?name=${encodeURIComponent(name)}&${listed}`))).json();
  const most = Math.max(...bins.map((bin) => bin.rows), 1), part = at("column");
  part.dataset.name = name;
  part.querySelector("h2").textContent = name.replaceAll("_", " ");
  part.querySelector("p").textContent = help;
  part.querySelector(".bins").replaceChildren(...bins.map((bin) => binButton(name, bin, most)));
  part.hidden = false;
}

function binButton(name, bin, most) {
  const button = element("button", "", "bin"), bar = element("i", "");
  button.type = "button";
  button.title = `${bin.label}: ${bin.rows.toLocaleString("en")}`;
  bar.style.width = `${100 * bin.rows / most}%`;
  button.append(element("span", bin.label), bar, element("span", bin.rows.toLocaleString("en")));
  const current = () => table.getHeaderFilterValue(name) || "";
  button.setAttribute("aria-pressed", current() === bin.box);
  button.addEventListener("click", async () => {
    table.showColumn(name);
    table.setHeaderFilterValue(name, current() === bin.box ? "" : bin.box);
  });
  return button;
}

function hideColumn() {
  at("column").hidden = true;
  delete at("column").dataset.name;
}

// After the rows have changed: the filters of other columns may have.
function refreshColumn() {
  const {name} = at("column").dataset;
  if (name) showColumn(name).catch(showError);
}

at("close-column").addEventListener("click", hideColumn);
