// Mouse, touch and wheel on one view, as calls of `act`: zoom(factor, at), pan(dx, dy), window(dx, dy),
// hover(at or null), press(at), twice(at) for a double click, refused() for a wheel that is the page's. Where
// draws() is true, one finger or the left button draws: outline(from, to), to null when it came to nothing, and
// outlined(from, to) at its end. Points are CSS pixels from the middle of the view.

function listenToGestures(view, act) {
  const held = new Map(); // pointer id -> where it is
  let windowing = false;
  let begun = null; // where drawing began
  let travelled = 0;

  const at = (event) => {
    const { left, top, width, height } = view.getBoundingClientRect();
    return { x: event.clientX - left - width / 2, y: event.clientY - top - height / 2 };
  };
  const spread = () => {
    const [a, b] = held.values();
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, size: Math.hypot(a.x - b.x, a.y - b.y) };
  };

  view.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0 && event.button !== 2) return;
    if (held.size === 0) travelled = 0;
    windowing = event.button === 2 || act.dragSetsWindow();
    if (begun) act.outline(begun, null); // a second finger moves the image
    begun = held.size === 0 && !windowing && act.draws?.() ? at(event) : null;
    held.set(event.pointerId, at(event));
    view.setPointerCapture(event.pointerId);
  });

  view.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = held.get(event.pointerId);
    if (!before) return act.hover(now);
    const pinch = held.size === 2 && spread();
    held.set(event.pointerId, now);
    travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (pinch) {
      const moved = spread();
      act.pan(moved.x - pinch.x, moved.y - pinch.y);
      if (pinch.size > 0) act.zoom(moved.size / pinch.size, moved);
    } else if (held.size === 1) {
      if (begun) act.outline(begun, now);
      else if (windowing) act.window(now.x - before.x, now.y - before.y);
      else act.pan(now.x - before.x, now.y - before.y);
    }
  });

  const release = (event) => {
    if (!held.delete(event.pointerId)) return;
    const [from, whole] = [begun, event.type === "pointerup" && event.button === 0];
    begun = null;
    if (from) act.outline(from, null);
    if (whole && travelled < 4) act.press(at(event));
    else if (whole && from) act.outlined(from, at(event));
  };
  view.addEventListener("pointerup", release);
  view.addEventListener("pointercancel", release);
  view.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") act.hover(null); // a finger that lifts keeps what it pressed lit
  });
  view.addEventListener("dblclick", (event) => {
    event.preventDefault();
    act.twice(at(event));
  });
  view.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button sets the window

  // With the whole image in view one finger scrolls the page (touch-action in the style sheet); two fingers
  // always belong to the image.
  view.addEventListener(
    "touchmove",
    (event) => {
      if (event.touches.length > 1 && event.cancelable) event.preventDefault();
    },
    { passive: false },
  );

  view.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !act.wheelZooms()) return act.refused(); // who scrolls the page passes over it
      const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? view.clientHeight : 1;
      // A pinch on a touchpad arrives as a wheel with the control key, in small steps.
      const factor = Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0015));
      // Zooming out of an image that is whole already leaves the wheel to the page.
      if (act.zoom(factor, at(event)) || event.ctrlKey) event.preventDefault();
    },
    { passive: false },
  );
}
