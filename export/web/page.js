"use strict";
// The page: what is chosen, and what is shown of it. Features pass through the controls from top to bottom:
// interpolated, the largest kept, dropped, binarised.

const page = (() => {
  const models = JSON.parse(document.getElementById("models").textContent);
  const $ = (id) => document.getElementById(id);
  const controls = $("controls");
  const photographs = []; // {name, source, read}: source is a file or an image of the page
  const features = new Map(); // "encoder photograph" -> promise of features by name
  let drawn = [];
  let seed = 0;
  let running = false;
  let waiting = false;

  const model = () => models[Number(document.querySelector("input[name=model]:checked").value)];
  const chosen = () => Number(document.querySelector("input[name=first]:checked").value);

  function photograph(index) {
    const entry = photographs[index];
    entry.read ??= pictures.read(entry.source);
    return entry.read;
  }

  function featuresOf(index) {
    const { encoder } = model();
    const key = `${encoder} ${index}`;
    if (!features.has(key)) features.set(key, photograph(index).then((read) => engine.encode(model(), read)));
    return features.get(key);
  }

  /** How many of the entries a slider on a logarithmic scale keeps: all at its end. */
  function kept(count) {
    const slider = controls.elements.keep;
    return Math.round(count ** (Number(slider.value) / Number(slider.max)));
  }

  /** What the controls make of features. */
  function perturbed(values, second) {
    const { share, drop, how, binarise } = controls.elements;
    if (second) values = perturbations.interpolate(values, second, Number(share.value) / 100);
    const k = kept(values.length);
    if (k < values.length) values = perturbations.keepLargest(values, k);
    const part = Number(drop.value) / 100;
    if (part > 0 && how.value === "random") values = perturbations.drop(values, part, seed);
    if (part > 0 && how.value === "least") values = perturbations.dropLeast(values, part);
    return binarise.checked ? perturbations.binarise(values) : values;
  }

  function describe(count) {
    const { keep, drop, share, second } = controls.elements;
    const texts = {
      keep: Number(keep.value) === Number(keep.max) ? `all ${count}` : `${kept(count)} of ${count}`,
      drop: `${drop.value} %`,
      share: second.value === "" ? "none" : `${share.value} %`,
    };
    for (const [name, text] of Object.entries(texts)) {
      $(`${name}-value`).textContent = text;
      controls.elements[name].setAttribute("aria-valuetext", text);
    }
    share.disabled = second.value === "";
  }

  /** The photograph as it is cut for a model; drawn anew only when one of them is another. */
  function drawOriginal(original, using) {
    const cut = [original, using.covers, using.height, using.width];
    if (cut.every((value, i) => value === drawn[i])) return;
    const fit = using.covers ? pictures.cover : pictures.stretch;
    pictures.drawRgb($("original"), fit(original, using.height, using.width));
    drawn = cut;
  }

  async function show() {
    const [using, first, second] = [model(), chosen(), controls.elements.second.value];
    $("about").textContent = `${using.features.join(" × ")} numbers: ${using.about}.`;
    const original = await photograph(first);
    drawOriginal(original, using);
    const found = (await featuresOf(first))[using.output];
    const other = second === "" ? null : (await featuresOf(Number(second)))[using.output];
    const values = perturbed(found.values, other?.values);
    describe(values.length);
    const decoded = await engine.decode(using, { values, shape: found.shape });
    pictures.drawFeatures($("features"), values, found.shape);
    pictures.drawPlanes($("reconstruction"), decoded.height, decoded.width, decoded.planes);
    const { name } = photographs[first];
    $("original").setAttribute("aria-label", `${name}, as it is cut for ${using.name}`);
    $("features").setAttribute("aria-label", `The features of ${name} that were decoded`);
    $("reconstruction").setAttribute("aria-label", `${name}, reconstructed from ${using.name}`);
    const left = values.reduce((sum, value) => sum + (value !== 0), 0);
    return `${name} from ${using.name}: ${left} of ${values.length} numbers are not zero; decoded in ${Math.ceil(decoded.milliseconds)} ms.`;
  }

  /** Show what is chosen; choices made meanwhile are shown next. */
  async function update() {
    waiting = true;
    if (running) return;
    running = true;
    document.body.setAttribute("aria-busy", "true");
    while (waiting) {
      waiting = false;
      try {
        say(await show());
      } catch (error) {
        say(`This does not work: ${error.message}`, true);
      }
      await new Promise((resolve) => setTimeout(resolve)); // lets the browser take events
    }
    running = false;
    document.body.setAttribute("aria-busy", "false");
  }

  function say(text, failed = false) {
    $("status").textContent = text;
    $("status").classList.toggle("failed", failed);
  }

  /** Offer a photograph under `name`; `source` is a file. */
  function add(name, source) {
    const index = photographs.push({ name, source }) - 1;
    const label = document.createElement("label");
    label.className = "thumb";
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "first", value: index });
    const image = Object.assign(new Image(), { src: URL.createObjectURL(source), alt: name });
    label.append(radio, image);
    $("choose").before(label);
    radio.checked = true;
    controls.elements.second.add(new Option(name, index));
  }

  async function addFiles(files) {
    for (const file of files) {
      try {
        await pictures.read(file);
        add(file.name, file);
      } catch {
        say(`${file.name} is not a picture that this browser reads.`, true);
        return;
      }
    }
    if (files.length) update();
  }

  document.querySelectorAll("#photographs img").forEach((image) => {
    const index = photographs.push({ name: image.alt, source: image }) - 1;
    controls.elements.second.add(new Option(image.alt, index));
  });
  $("file").addEventListener("change", (event) => addFiles([...event.target.files]));
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  document.addEventListener("dragover", () => document.body.classList.add("dropping"));
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, () => document.body.classList.remove("dropping"));
  }
  document.addEventListener("drop", (event) => addFiles([...event.dataTransfer.files]));
  document.addEventListener("input", (event) => event.target.id !== "file" && update());
  $("again").addEventListener("click", () => {
    seed += 1;
    update();
  });
  controls.addEventListener("reset", () => {
    seed = 0;
    setTimeout(update); // after the controls are back
  });
  window.addEventListener("load", update);
})();
