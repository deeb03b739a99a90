import { useStudio } from "../studio.js";
import { texts } from "../texts.js";

/** Which run's model is asked. */
export function ModelChoice() {
  const { runs, model, setModel } = useStudio();
  return (
    <label>
      {texts.model}
      <select value={model?.name} onChange={(event) => setModel(event.currentTarget.value)}>
        {runs
          .filter(({ finished }) => finished !== null)
          .map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
      </select>
    </label>
  );
}
