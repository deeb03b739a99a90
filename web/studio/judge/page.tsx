import { useEffect, useRef, useState } from "preact/hooks";

import type { ReportImage } from "../../../lib/report/types.js";
import type { Judgement } from "../../../lib/studio/types.js";
import { Evaluated } from "../../report/report.js";
import { addresses, api } from "../api.js";
import { useAttempt, useStudio } from "../studio.js";
import { texts } from "../texts.js";
import { Detail } from "./detail.js";
import { ModelChoice } from "./model_choice.js";
import { NoModel } from "./no_model.js";
import { NextLabels } from "./next_labels.js";

export function JudgePage({ rest }: { rest: string }) {
  const { project, runs, model, setModel, work, tell } = useStudio();
  const attempt = useAttempt();
  const [judgement, setJudgement] = useState<Judgement>();
  const [threshold, setThreshold] = useState<number>();
  const [opened, setOpened] = useState<ReportImage>();
  // Of a page that has just come the runs are not known yet.
  const isThere = runs.some(({ name, finished }) => name === rest && finished !== null);
  useEffect(() => {
    if (isThere) setModel(rest);
  }, [rest, isThere]);
  const name = model?.name;
  // An answer about another model than the one that is shown by now is late.
  const nameNow = useRef(name);
  nameNow.current = name;
  const take = (found: Judgement): void => {
    if (found.run !== nameNow.current) return;
    setJudgement(found);
    setThreshold(found.evaluation?.axis.threshold);
  };
  useEffect(() => {
    setJudgement(undefined);
    if (name !== undefined) void attempt(async () => take(await api.judgement(name)));
  }, [name, model?.finished]);
  // Labels may have changed, here or elsewhere: a threshold that is being moved stays.
  useEffect(() => {
    if (name === undefined || !judgement) return;
    void attempt(async () => {
      const found = await api.judgement(name);
      if (found.run === nameNow.current) setJudgement(found);
    });
  }, [project.images]);
  // Of a long judging, or one that another page began.
  const isJudging = work?.kind === "judging" && work.run === name;
  useEffect(() => {
    if (name !== undefined && judgement && !isJudging) void attempt(async () => take(await api.judgement(name)));
  }, [isJudging]);
  if (!model) return <NoModel />;
  const judge = (): Promise<void> => attempt(async () => take(await api.judge(model.name)));
  const save = (): Promise<void> =>
    attempt(async () => {
      take(await api.setThreshold(judgement!.run, threshold!));
      tell({ text: texts.thresholdSaved });
    });
  const evaluation = judgement?.evaluation;
  const isMoved = evaluation && threshold !== undefined && threshold !== evaluation.axis.threshold;
  return (
    <>
      <h1 class="hidden">{texts.pages.judge}</h1>
      <div class="bar">
        <ModelChoice />
        <button type="button" class="plain" disabled={isJudging} onClick={() => void judge()}>
          {texts.judgeAgain}
        </button>
        <a href={addresses.report(model.name)} target="_blank" rel="noopener">
          {texts.report}
        </a>
        <span class="quiet" role="status">
          {isJudging
            ? texts.judging(work.done, work.total)
            : judgement && evaluation && !judgement.isCurrent
              ? texts.notCurrent
              : ""}
        </span>
        <span class="grow" />
        {isMoved && (
          <button type="button" disabled={isJudging} onClick={() => void save()}>
            {texts.saveThreshold}
          </button>
        )}
      </div>
      {judgement && !evaluation && <p>{texts.notJudged}</p>}
      {evaluation && threshold !== undefined && (
        <Evaluated
          evaluation={evaluation}
          threshold={threshold}
          onThreshold={setThreshold}
          onImage={setOpened}
          help={texts.thresholdHelp}
        />
      )}
      {judgement?.notes.map((note) => (
        <p key={note} class="quiet">
          {note}
        </p>
      ))}
      <NextLabels />
      {opened && evaluation && project.images.some(({ id }) => id === opened.id) && (
        <Detail
          run={model.name}
          image={project.images.find(({ id }) => id === opened.id)!}
          onClose={() => setOpened(undefined)}
        />
      )}
    </>
  );
}
