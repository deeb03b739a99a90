import { useEffect, useRef, useState } from "preact/hooks";

import type { Estimate, TrainingFlags, TrainingOption } from "../../../lib/studio/types.js";
import { api } from "../api.js";
import { useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";
import { duration } from "./time.js";

/** What a training is started with: five options, the others folded away. What is left empty has its default. */
export function TrainForm() {
  const { project, runs } = useStudio();
  const attempt = useAttempt();
  const [options, setOptions] = useState<readonly TrainingOption[]>([]);
  const [flags, setFlags] = useState<TrainingFlags>({});
  const [runName, setName] = useState("");
  const [estimate, setEstimate] = useState<Estimate>();
  const measuring = useRef<AbortController | undefined>(undefined);
  const [isMeasuring, setMeasuring] = useState(false);
  useEffect(() => {
    void attempt(async () => setOptions(await api.options()));
  }, [project.regime]); // defaults go by it
  useEffect(() => () => measuring.current?.abort(), []);
  const set = (flag: string, value: string): void => {
    setEstimate(undefined);
    setFlags(({ [flag]: _, ...others }) => (value.trim() === "" ? others : { ...others, [flag]: value.trim() }));
  };
  const others = options.filter(({ main }) => !main);
  const groups = [...new Set(others.map(({ group }) => group))];
  const field = (option: TrainingOption) => (
    <Option
      key={option.flag}
      option={option}
      value={flags[option.flag] ?? ""}
      onValue={(value) => set(option.flag, value)}
    />
  );
  const { counts } = project;
  const isPossible = counts.trainGood >= 2;
  const isBusy = runs.some(({ state }) => state === "running");
  const measure = (): Promise<void> =>
    attempt(async () => {
      if (measuring.current) return measuring.current.abort();
      const controller = (measuring.current = new AbortController());
      setMeasuring(true);
      try {
        setEstimate(await api.estimate(flags, controller.signal));
      } catch (error) {
        if ((error as Error).name !== "AbortError") throw error;
      } finally {
        measuring.current = undefined;
        setMeasuring(false);
      }
    });
  const start = (): Promise<void> =>
    attempt(async () => {
      measuring.current?.abort();
      await api.train(runName.trim() || undefined, flags);
      setName("");
    });
  return (
    <section>
      <h2>{texts.newTraining}</h2>
      <p>
        <strong>{texts.regimes[project.regime]}</strong>: {texts.regimeHelp[project.regime]}{" "}
        <span class="quiet">{texts.trainsOn(counts)}</span>
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <div class="options">
          {options.filter(({ main }) => main).map(field)}
          <label class="option">
            <span>{texts.name}</span>
            <input
              value={runName}
              placeholder={texts.nameStandard}
              pattern="[A-Za-z0-9][A-Za-z0-9._\-]{0,63}"
              onInput={(event) => setName(event.currentTarget.value)}
            />
            <span class="quiet">{texts.nameHelp}</span>
          </label>
        </div>
        <details>
          <summary>{texts.moreOptions}</summary>
          {groups.map((name) => (
            <fieldset key={name} class="group">
              <legend>{name}</legend>
              <div class="options">{others.filter(({ group }) => group === name).map(field)}</div>
            </fieldset>
          ))}
        </details>
        <div class="bar">
          <button disabled={!isPossible}>{isBusy ? texts.enqueue : texts.start}</button>
          <button type="button" class="plain" disabled={!isPossible || isBusy} onClick={() => void measure()}>
            {isMeasuring ? texts.stopMeasuring : texts.estimate}
          </button>
          <span role="status">
            {!isPossible
              ? texts.needsGood
              : isMeasuring
                ? texts.measuring
                : estimate && texts.estimated(duration(estimate.seconds), estimate.epochs, estimate.steps)}
          </span>
        </div>
      </form>
    </section>
  );
}

function Option({ option, value, onValue }: { option: TrainingOption; value: string; onValue(value: string): void }) {
  const { flag, help, takes, standard, choices } = option;
  const shown = flag.replaceAll("-", " ");
  return (
    <label class="option">
      <span>{shown}</span>
      {choices ? (
        <select value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          <option value="">{texts.standardChoice}</option>
          {choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : (
        <input value={value} placeholder={takes} onInput={(event) => onValue(event.currentTarget.value)} />
      )}
      <span class="quiet">
        {help} {standard !== null && texts.standard(standard)}
      </span>
    </label>
  );
}
