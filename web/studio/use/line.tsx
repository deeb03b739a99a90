import { useStudio } from "../studio.js";
import { texts } from "../texts.js";

/** The last results of a line that runs: the newest in letters that are read from afar. */
export function Line() {
  const { line } = useStudio();
  const [newest] = line;
  const count = (verdict: string): number => line.filter((one) => one.verdict === verdict).length;
  return (
    <div class="line">
      <h1 class="hidden">{texts.line}</h1>
      <div class="bar">
        <a href="#/use">{texts.back}</a>
      </div>
      {newest ? (
        <>
          <p class={`huge ${newest.verdict}`} role="status">
            {texts.verdicts[newest.verdict]}
          </p>
          <p>
            {newest.id} · {texts.scoreOf(newest.score)} · {new Date(newest.time).toLocaleTimeString("en-GB")}
          </p>
          <p class="quiet">{texts.lineCounts(line.length, count("good"), count("unsure"), count("defect"))}</p>
          <ol class="strip" aria-label={texts.lastResults}>
            {line.map((result) => (
              <li
                key={`${result.time} ${result.id}`}
                class={result.verdict}
                title={`${result.id}: ${texts.verdicts[result.verdict]}, ${result.score.toFixed(3)}`}
              >
                <span class="hidden">{texts.verdicts[result.verdict]}</span>
              </li>
            ))}
          </ol>
          <div class="scroll" tabIndex={0} role="region" aria-label={texts.lastResults}>
            <table>
              <thead>
                <tr>
                  <th>{texts.time}</th>
                  <th>{texts.image}</th>
                  <th>{texts.verdict}</th>
                  <th class="number">{texts.score}</th>
                  <th>{texts.model}</th>
                </tr>
              </thead>
              <tbody>
                {line.map((result) => (
                  <tr key={`${result.time} ${result.id}`}>
                    <td>{new Date(result.time).toLocaleString("en-GB")}</td>
                    <td>{result.id}</td>
                    <td class={`verdict ${result.verdict}`}>{texts.verdicts[result.verdict]}</td>
                    <td class="number">{result.score.toFixed(4)}</td>
                    <td>{result.model}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      ) : (
        <div class="empty">
          <p class="large">{texts.noLine}</p>
          <p>{texts.noLineHelp}</p>
          <pre>{texts.noLineCommand}</pre>
        </div>
      )}
    </div>
  );
}
