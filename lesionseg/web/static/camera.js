// A photo from the camera of a computer; phones bring an app of their own for that.

/** Show the camera in a dialog; a photo (a File), or null where the user cancels. */
export async function openCamera(dialog) {
  const video = dialog.querySelector("video");
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: false,
    video: { facingMode: "environment", width: { ideal: 4096 }, height: { ideal: 4096 } },
  });
  const [shoot, cancel] = dialog.querySelectorAll("button");
  try {
    video.srcObject = stream;
    dialog.showModal();
    const isTaken = await new Promise((resolve) => {
      shoot.onclick = () => resolve(video.videoWidth > 0);
      cancel.onclick = () => resolve(false);
      dialog.onclose = () => resolve(false); // by Escape
    });
    if (!isTaken) return null;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    return new File([blob], `camera-${time}.png`, { type: "image/png" });
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.onclose = null;
    dialog.close();
  }
}
