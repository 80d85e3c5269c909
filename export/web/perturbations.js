"use strict";
// What is done to features before they are decoded: decoders/experiments/perturbations.py, number for number.
// Features are a Float32Array of one picture; each function returns a new one. Sums are float64, as there.

const perturbations = (() => {
  const WORD_GOLDEN = 0x9e3779b1;

  function norm(values) {
    let sum = 0;
    for (const value of values) sum += value * value;
    return Math.sqrt(sum);
  }

  function countNonzero(values) {
    let count = 0;
    for (const value of values) if (value !== 0) count += 1;
    return count;
  }

  /** MurmurHash3's 32-bit finaliser. */
  function mixed(value) {
    value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
    value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
    return (value ^ (value >>> 16)) >>> 0;
  }

  /** Places 0..length - 1, sorted by their keys; equal keys keep their order. */
  function sortedPlaces(length, key) {
    const keys = Float64Array.from({ length }, (_, place) => key(place));
    return Uint32Array.from({ length }, (_, place) => place).sort((a, b) => keys[a] - keys[b] || a - b);
  }

  const part = (share, count) => Math.floor(share * count + 0.5);

  /** Zero the first `count` places of an order and rescale to the norm. */
  function dropped(values, order, count) {
    const kept = Float64Array.from(values);
    for (let i = 0; i < count; i++) kept[order[i]] = 0;
    const left = norm(kept);
    const scale = left > 0 ? norm(values) / left : 0;
    return Float32Array.from(kept, (value) => value * scale);
  }

  function binarise(values) {
    const magnitude = norm(values) / Math.sqrt(Math.max(countNonzero(values), 1));
    return Float32Array.from(values, (value) => Math.sign(value) * magnitude);
  }

  function drop(values, share, seed) {
    const row = mixed(Math.imul(seed, WORD_GOLDEN)); // the first row of a batch
    const order = sortedPlaces(values.length, (place) => mixed(Math.imul(place + 1, WORD_GOLDEN) ^ row));
    return dropped(values, order, part(share, values.length));
  }

  function dropLeast(values, share) {
    const count = countNonzero(values);
    const order = sortedPlaces(values.length, (place) => Math.abs(values[place])); // zeros first
    return dropped(values, order, values.length - count + part(share, count));
  }

  function keepLargest(values, k) {
    const kept = Float32Array.from(values);
    for (const place of sortedPlaces(values.length, (p) => -values[p]).subarray(k)) kept[place] = 0;
    return kept;
  }

  function interpolate(first, second, share) {
    return Float32Array.from(first, (value, place) => (1 - share) * value + share * second[place]);
  }

  return { binarise, drop, dropLeast, keepLargest, interpolate };
})();
