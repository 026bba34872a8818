// Sliders of scrubbing.py. One listener for the page: what is put into it later works too.
document.addEventListener("input", ({ target }) => {
  const swipe = target.closest(".swipe"), scrubber = target.closest(".scrubber");
  if (swipe) swipe.style.setProperty("--cut", `${target.value}%`);
  if (!scrubber) return;
  for (const reel of scrubber.querySelectorAll(".reel")) {
    const names = JSON.parse(reel.dataset.names);
    const at = Math.round((target.value / Math.max(target.max, 1)) * (names.length - 1));
    reel.style.setProperty("--at", at);
    reel.querySelector("output").textContent = names[at];
  }
});
