/** The pack in the editor: registers its extensions and their style. */

import { app } from "../../scripts/app.js";
import { loadVideoFrames } from "./load_video_frames.js";
import { videoResults } from "./video_results.js";

// ComfyUI imports every file of this folder, so that only this one may do more than define things.
const style = document.createElement("link");
Object.assign(style, { rel: "stylesheet", href: new URL("./motion_embeddings.css", import.meta.url).href });
document.head.append(style);

app.registerExtension(loadVideoFrames);
app.registerExtension(videoResults);
