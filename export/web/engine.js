"use strict";
// Loads the runtime and the models when they are first needed, and runs them.
// Each is a script data/NAME.js that calls deliver(NAME, TEXT), TEXT being gzip in base64.

const engine = (() => {
  const arriving = new Map(); // name -> {resolve, reject}
  const loaded = new Map(); // name -> promise of bytes
  const sessions = new Map(); // name -> promise of a session

  globalThis.deliver = (name, text) => arriving.get(name).resolve(text);

  function load(name) {
    if (!loaded.has(name)) loaded.set(name, arrival(name).then(unpack));
    return loaded.get(name);
  }

  function arrival(name) {
    return new Promise((resolve, reject) => {
      arriving.set(name, { resolve, reject });
      const script = document.createElement("script");
      script.src = `data/${encodeURIComponent(name)}.js`;
      script.onerror = () => reject(new Error(`data/${name}.js is missing beside this page`));
      script.onload = () => script.remove();
      document.head.append(script);
    });
  }

  async function unpack(text) {
    const characters = atob(text);
    const packed = new Uint8Array(characters.length);
    for (let i = 0; i < packed.length; i++) packed[i] = characters.charCodeAt(i);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const runtime = (() => {
    let ready;
    return () => {
      ready ??= (async () => {
        const [glue, binary] = await Promise.all(["mjs", "wasm"].map((end) => load(`ort-wasm-simd-threaded.${end}`)));
        const address = URL.createObjectURL(new Blob([glue], { type: "text/javascript" }));
        Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: { mjs: address }, wasmBinary: binary.buffer });
      })();
      return ready;
    };
  })();

  function session(name) {
    if (!sessions.has(name)) {
      const opened = runtime()
        .then(() => load(name))
        .then((bytes) => ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }));
      sessions.set(name, opened);
    }
    return sessions.get(name);
  }

  /** Features of a photograph, by name: {values, shape} each. */
  async function encode(model, photograph) {
    const given = model.covers ? pictures.cover(photograph, model.height, model.width) : photograph;
    const running = await session(model.encoder);
    const shape = [1, given.height, given.width, 3];
    const found = await running.run({ photographs: new ort.Tensor("uint8", given.pixels, shape) });
    const named = Object.entries(found).map(([name, tensor]) => [name, { values: tensor.data, shape: tensor.dims.slice(1) }]);
    return Object.fromEntries(named);
  }

  /** The picture that a decoder makes of features: {height, width, planes} and the time. Planes are red, green, blue 0..255. */
  async function decode(model, { values, shape }) {
    const running = await session(model.decoder);
    const began = performance.now();
    const found = await running.run({ features: new ort.Tensor("float32", values, [1, ...shape]) }, ["pictures"]);
    const [, , height, width] = found.pictures.dims;
    return { height, width, planes: found.pictures.data, milliseconds: performance.now() - began };
  }

  return { encode, decode };
})();
