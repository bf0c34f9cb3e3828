// inceptive site: keeps it for use without a network, and isolates it so that the net may use several threads.

const FILES = {}; // path: [SHA-256, bytes]
const CACHE = `inceptive ${registration.scope}`, CSP = "";
const HEADERS = {
  "content-security-policy": CSP,
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
};
const key = hash => new Request(`${registration.scope}?sha256=${hash}`);
const hex = buffer => Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, "0")).join("");

async function tell(message) {
  for (const page of await clients.matchAll({ includeUncontrolled: true })) page.postMessage(message);
}

async function keep() {
  const cache = await caches.open(CACHE), total = Object.values(FILES).reduce((sum, [, bytes]) => sum + bytes, 0);
  let done = 0;
  for (const [path, [hash, bytes]] of Object.entries(FILES)) {
    if (!(await cache.match(key(hash)))) {
      const answer = await fetch(path, { cache: "no-cache" });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      const parts = [], reader = answer.body.getReader();
      for (let part, read = 0; !(part = await reader.read()).done; read += part.value.length) {
        parts.push(part.value);
        tell({ done: done + read, total });
      }
      const content = new Blob(parts);
      if (hex(await crypto.subtle.digest("SHA-256", await content.arrayBuffer())) !== hash)
        throw new Error(`${path} is not the file expected: the site is being changed`);
      await cache.put(key(hash), new Response(content, { headers: { "content-type": answer.headers.get("content-type") } }));
    }
    done += bytes;
  }
}

async function forget() {
  const cache = await caches.open(CACHE), wanted = new Set(Object.values(FILES).map(([hash]) => key(hash).url));
  for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
}

async function answer(request, hash) {
  const found = hash && await (await caches.open(CACHE)).match(key(hash)) || await fetch(request);
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}

oninstall = event => event.waitUntil(keep().then(() => skipWaiting()));
onactivate = event => event.waitUntil(forget().then(() => clients.claim()));
onfetch = event => {
  const { request } = event, address = new URL(request.url);
  if (request.method !== "GET" || !address.href.startsWith(registration.scope)) return;
  const path = address.pathname.slice(new URL(registration.scope).pathname.length) || "index.html";
  event.respondWith(answer(request, FILES[path]?.[0]));
};
