// Chromium writes its pictures fast, not small: the same picture, packed as tightly as zlib can.

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE_BYTES = 8;

export function packTightly(png: Buffer): Buffer {
  const chunks: { type: string; data: Buffer }[] = [];
  for (let at = SIGNATURE_BYTES; at < png.length; ) {
    const length = png.readUInt32BE(at);
    chunks.push({ type: png.toString("latin1", at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) });
    at += length + 12;
  }
  const pixels = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data)));
  const packed = { type: "IDAT", data: deflateSync(pixels, { level: 9, memLevel: 9 }) };
  const kept = ["IHDR", "PLTE", "tRNS", "sRGB"].flatMap((wanted) => chunks.filter(({ type }) => type === wanted));
  return Buffer.concat([png.subarray(0, SIGNATURE_BYTES), ...[...kept, packed, { type: "IEND", data: Buffer.alloc(0) }].map(written)]);
}

function written({ type, data }: { type: string; data: Buffer }): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}
