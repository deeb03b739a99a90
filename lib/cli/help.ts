import { Command as Parser, Help } from "commander";

import { commands } from "./commands.js";

/** Width of the first column; a longer term has a line of its own. */
const termWidth = 30;

/** Of a terminal; files and pipes get lines of 110 characters. */
const helpWidth = (): number => Math.min(process.stdout.columns || 110, 120);

/** A parser of commander's that prints help as this program does. */
export function newParser(name: string): Parser {
  return new Parser(name)
    .helpOption(false)
    .helpCommand(false)
    .configureOutput({ getOutHelpWidth: helpWidth })
    .configureHelp({ padWidth: () => termWidth, formatItem });
}

function formatItem(term: string, width: number, description: string, helper: Help): string {
  const format = (shown: string): string => Help.prototype.formatItem.call(helper, shown, width, description, helper);
  return term.length <= width ? format(term) : `  ${term}\n${format("")}`;
}

/** The list of all commands. */
export function overview(): string {
  const program = newParser("supersimplenet")
    .usage("COMMAND [options]")
    .description("Finds surface defects with SuperSimpleNet. It trains on whatever labels you have.")
    .configureHelp({ padWidth: () => 12, subcommandTerm: (command) => command.name() });
  for (const { name, summary } of commands) program.command(name).description(summary);
  return [
    program.helpInformation(),
    "'supersimplenet COMMAND --help' explains one. 'supersimplenet --version' prints the version.",
    "",
  ].join("\n");
}
