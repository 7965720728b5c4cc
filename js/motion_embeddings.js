/** The pack in the editor: registers its extensions and their style. */

import { app } from "../../scripts/app.js";
import { loadMotion } from "./load_motion.js";
import { loadVideoFrames } from "./load_video_frames.js";
import { nodeErrors } from "./node_errors.js";
import { nodeWords } from "./node_words.js";
import { training } from "./training.js";
import { videoResults } from "./video_results.js";

// ComfyUI imports every file of this folder, so that only this one may do more than define things.
const style = document.createElement("link");
Object.assign(style, { rel: "stylesheet", href: new URL("./motion_embeddings.css", import.meta.url).href });
document.head.append(style);

app.registerExtension(nodeWords);
app.registerExtension(loadMotion);
app.registerExtension(loadVideoFrames);
app.registerExtension(nodeErrors);
app.registerExtension(training);
app.registerExtension(videoResults);
