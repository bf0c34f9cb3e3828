// The page: pictures in, bars out. What a picture is, the worker finds; nothing is sent anywhere.

const $ = id => document.getElementById(id);
const make = (tag, more = {}, ...inside) => { const e = Object.assign(document.createElement(tag), more); e.append(...inside); return e; };
const percent = p => (100 * p).toFixed(1) + "\u00a0%";
const wrong = text => make("p", { className: "error", textContent: text });
const muted = text => make("p", { className: "muted", textContent: text });
const ready = start();
let model, worker, asked = 0;
const waiting = new Map();

function ask(message) {
  return new Promise((done, failed) => {
    const id = waiting.size ? Math.max(...waiting.keys()) + 1 : 1;
    waiting.set(id, answer => (answer.error ? failed(new Error(answer.error)) : done(answer)));
    worker.postMessage({ id, ...message });
  });
}

/** Wait until the site is kept here for use without a network, where the browser can. */
async function kept() {
  const service = navigator.serviceWorker; // none without https, except on this very machine
  if (!service) return;
  service.onmessage = ({ data }) => { $("about").textContent =
    `loading, once: ${(data.done / 1e6).toFixed(1)} of ${(data.total / 1e6).toFixed(1)} MB`; };
  service.oncontrollerchange = () => { if (!asked) location.reload(); }; // a newer site
  try {
    const { installing } = await service.register("sw.js", { updateViaCache: "none" });
    if (service.controller || !installing) return;
    await new Promise(done => {
      installing.onstatechange = () => { if (["activated", "redundant"].includes(installing.state)) done(); };
    });
    if (installing.state !== "activated" || asked) return;
    location.reload(); // isolated from now on
    await new Promise(() => {});
  } catch { /* a private window, say: then it works while the network does */ }
}

async function start() {
  await kept();
  try {
    worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => { waiting.get(data.id)(data); waiting.delete(data.id); };
    const failed = new Promise((_, no) => { worker.onerror = event => no(new Error(event.message || "the page's files cannot be loaded")); });
    const loaded = await Promise.race([ask({}), failed]);
    ({ model } = loaded);
    $("name").textContent = document.title = model.name;
    const some = model.labels.slice(0, 12).join(", ") + (model.labels.length > 12 ? ", …" : "");
    const sure = `sure from ${percent(model.sure_from)}` + (model.accuracy_when_sure === null ? ""
      : `: of ${model.sure_count} such answers on validation images ${percent(model.accuracy_when_sure)} were right`);
    $("about").replaceChildren(make("span", { textContent: `${model.net}, ${model.labels.length} classes (${some}); ${sure}` }));
    const home = navigator.serviceWorker?.controller ? "kept on this device: works without a network" : "not kept on this device";
    $("foot").textContent = `${loaded.threads} thread${loaded.threads > 1 ? "s" : ""}; ${home}`
      + (model.licence ? `; licence of the images it learned: ${model.licence}` : "") + ";";
  } catch (error) { $("about").replaceChildren(wrong(error.message)); throw error; }
}

function bars(probs) {
  const best = probs.map((prob, k) => [prob, k]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, 5);
  return make("ol", {}, ...best.map(([prob, k]) => {
    const fill = make("div", { className: "fill" }), track = make("div", { className: "track" }, fill);
    fill.style.width = 100 * prob + "%";
    track.setAttribute("aria-hidden", "true");
    return make("li", {}, make("span", { className: "label", textContent: model.labels[k] }),
      make("span", { className: "prob", textContent: percent(prob) }), track);
  }));
}

async function show(file, group) {
  const name = file.name || "pasted image", into = make("div"), picture = make("img", { alt: name });
  picture.src = URL.createObjectURL(file);
  picture.onerror = () => picture.removeAttribute("src");
  into.append(muted("looking…"));
  group.append(make("article", {}, picture, make("div", {}, make("h2", { textContent: name }), into)));
  try {
    await ready;
    const { probs, novel, ms } = await ask({ file });
    const first = probs.indexOf(Math.max(...probs));
    const said = novel ? "like none of the classes" : probs[first] >= model.sure_from ? "" : "not sure";
    into.replaceChildren(...(said ? [make("p", { className: "unsure", textContent: said })] : []), bars(probs),
      make("p", { className: "muted took", textContent: `${Math.round(ms.pixels + ms.net)} ms: ${Math.round(ms.pixels)} to read it, ${Math.round(ms.net)} in the net` }));
    $("status").textContent = `${name}: ${said ? said + ", perhaps " : ""}${model.labels[first]}, ${percent(probs[first])}`;
  } catch (error) {
    into.replaceChildren(wrong(error.message));
    $("status").textContent = `${name}: ${error.message}`;
  }
}

async function all(files) {
  if (!files.length) { $("status").textContent = "that was no file: save the image, then choose it"; return; }
  asked += files.length;
  const group = make("div");
  $("answers").prepend(group);
  for (const file of files) await show(file, group);
}
$("file").onchange = event => { const files = [...event.target.files]; event.target.value = ""; if (files.length) all(files); };
const drop = $("drop");
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, () => drop.classList.add("over"));
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
for (const kind of ["dragover", "drop"]) addEventListener(kind, e => e.preventDefault());
addEventListener("drop", e => all([...e.dataTransfer.files]));
addEventListener("paste", e => { if (e.clipboardData.files.length) all([...e.clipboardData.files]); });
