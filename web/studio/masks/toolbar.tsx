import type { ComponentChildren } from "preact";

import { Icon, type IconName } from "./icons.js";
import { maskTexts as texts } from "../texts.js";
import { sizes, type Tool, tools } from "./tools.js";

export interface ToolbarProps {
  tool: Tool;
  onTool(tool: Tool): void;
  /** A place in `sizes`. */
  size: number;
  onSize(size: number): void;
  canUndo: boolean;
  canRedo: boolean;
  canClear: boolean;
  onUndo(): void;
  onRedo(): void;
  onClear(): void;
  /** Undefined: there is no model. */
  onPropose?: () => void;
  isProposing: boolean;
  opacity: number;
  onOpacity(opacity: number): void;
  isHidden: boolean;
  onHide(isHidden: boolean): void;
}

export function Toolbar(props: ToolbarProps) {
  const { tool, size, opacity, isHidden } = props;
  return (
    <div class="masks-bar">
      <Group name={texts.tools}>
        {tools.map(({ tool: own, key, name }) => (
          <Button
            key={own}
            icon={own}
            text={name}
            shortcut={key}
            isPressed={tool === own}
            onClick={() => props.onTool(own)}
          />
        ))}
      </Group>
      <Group name={texts.changes}>
        <Button icon="undo" text={texts.undo} shortcut="Ctrl+Z" isOff={!props.canUndo} onClick={props.onUndo} />
        <Button icon="redo" text={texts.redo} shortcut="Ctrl+Shift+Z" isOff={!props.canRedo} onClick={props.onRedo} />
        <Button icon="clear" text={texts.clear} isOff={!props.canClear} onClick={props.onClear} />
      </Group>
      <label class="masks-slider" title={texts.sizeTitle}>
        <span>{texts.size}</span>
        <input
          type="range"
          min={0}
          max={sizes.length - 1}
          value={size}
          aria-valuetext={texts.pixelsSpoken(sizes[size]!)}
          onInput={(event) => props.onSize(Number(event.currentTarget.value))}
        />
        <span class="masks-value">{texts.pixels(sizes[size]!)}</span>
      </label>
      {props.onPropose && (
        <Group name={texts.propose}>
          <Button
            icon="propose"
            text={texts.propose}
            title={texts.proposeTitle}
            isNamed
            isOff={props.isProposing}
            onClick={props.onPropose}
          />
        </Group>
      )}
      <Group name={texts.look} isLast>
        <label class="masks-slider">
          <span>{texts.opacity}</span>
          <input
            type="range"
            min={0.1}
            max={1}
            step={0.05}
            value={opacity}
            aria-valuetext={texts.percent(opacity)}
            onInput={(event) => props.onOpacity(Number(event.currentTarget.value))}
          />
        </label>
        <Button
          icon={isHidden ? "hidden" : "shown"}
          text={isHidden ? texts.show : texts.hide}
          shortcut="H"
          onClick={() => props.onHide(!isHidden)}
        />
      </Group>
    </div>
  );
}

const Group = ({ name, isLast, children }: { name: string; isLast?: boolean; children: ComponentChildren }) => (
  <div role="group" aria-label={name} class={`masks-group ${isLast ? "last" : ""}`}>
    {children}
  </div>
);

interface ButtonProps {
  icon: IconName;
  text: string;
  title?: string;
  shortcut?: string;
  isPressed?: boolean;
  /** It keeps the focus: keys go to what has it. */
  isOff?: boolean;
  /** With its text beside the icon where there is room. */
  isNamed?: boolean;
  onClick(): void;
}

export const Button = ({ icon, text, title, shortcut, isPressed, isOff, isNamed, onClick }: ButtonProps) => (
  <button
    type="button"
    title={title ?? (shortcut ? texts.withKey(text, shortcut) : text)}
    aria-label={text}
    aria-keyshortcuts={shortcut?.replace("Ctrl", "Control")}
    aria-pressed={isPressed}
    aria-disabled={isOff || undefined}
    onClick={() => !isOff && onClick()}
  >
    <Icon name={icon} />
    {(isNamed || isPressed !== undefined) && <span>{text}</span>}
  </button>
);
