import { render } from "preact";

import type { ReportDocument } from "../../lib/report/types.js";
import { Report } from "./report.js";
import "./report.css";

const text = document.getElementById("document")!.textContent!;
render(<Report document={JSON.parse(text) as ReportDocument} />, document.getElementById("page")!);
