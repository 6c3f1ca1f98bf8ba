// Keeps every file of the page on the device, and adds the headers that allow threads.
// `lesionseg page` fills in the list of files and a name that changes with their content.

const FILES = {{ files }};
const CACHE = "lesionseg-{{ version }}";

self.addEventListener("install", (event) => {
  const filled = caches.open(CACHE).then((cache) => (
    cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })))));
  event.waitUntil(filled.then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith("lesionseg-") && name !== CACHE;
  const cleared = caches.keys().then((names) => (
    Promise.all(names.filter(isOld).map((name) => caches.delete(name)))));
  event.waitUntil(cleared.then(() => self.clients.claim()));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  const response = kept ?? await fetch(request);
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, headers });
}

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method !== "GET" || new URL(url).origin !== location.origin) return;
  event.respondWith(answer(event.request));
});
