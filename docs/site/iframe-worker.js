// Search in a site that is opened as files. Browsers start no worker there, so a hidden frame takes
// its place: what is posted to one comes as a message to the other.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inner = this.frame.contentWindow;
      const answer = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      this.ready = new Promise((resolve) => {
        const script = this.frame.contentDocument.createElement("script");
        script.onload = () => resolve(inner);
        script.src = String(url);
        inner.postMessage = answer;
        this.frame.contentDocument.head.appendChild(script);
      });
    }
    postMessage(data) {
      this.ready.then((inner) => inner.dispatchEvent(new inner.MessageEvent("message", { data })));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
