// In a folder on a web host: keep the page on the device, and let the network use threads.
// The worker sets the headers that threads need, so the first visit loads once more.

if ("serviceWorker" in navigator && location.protocol !== "file:") {
  navigator.serviceWorker.register("service-worker.js").then(async () => {
    await navigator.serviceWorker.ready;
    const isIdle = document.getElementById("gallery").hidden;
    if (isIdle && !globalThis.crossOriginIsolated && !sessionStorage.getItem("reloaded")) {
      sessionStorage.setItem("reloaded", "yes"); // once, whatever comes of it
      location.reload();
    }
  }, () => {}); // private windows have none: the page works without
}
