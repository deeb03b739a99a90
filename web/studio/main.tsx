import { render } from "preact";

import { App } from "./app.js";
import "../report/report.css";
import "./studio.css";

render(<App />, document.getElementById("page")!);
