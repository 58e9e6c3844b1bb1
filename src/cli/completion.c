/* SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts for bash and zsh, generated from the table of verbs, so that they always match the program. Names
 * are completed by running hull: `hull ls -q`, `hull image ls`, `hull template ls`. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* --- bash --- */

static const char *bash_words(enum cli_complete what)
{
	switch (what) {
	case CLI_SANDBOX:
		return "$(hull ls -q 2>/dev/null)";
	case CLI_IMAGE:
		return "$(hull image ls 2>/dev/null | awk 'NR > 1 {print $1}')";
	case CLI_TEMPLATE:
		return "$(hull template ls 2>/dev/null | awk 'NR > 1 {print $1}')";
	case CLI_JOB:
		return "$(hull logs \"$prev\" --jobs 2>/dev/null | awk '$2 == \"running\" {print $1}')";
	case CLI_VERB:
		return "$_hull_verbs";
	case CLI_ENGINE:
		return "auto qemu";
	case CLI_LOG:
		return "keeper guest serial engine docker";
	case CLI_SHELL:
		return "bash zsh";
	case CLI_WAIT:
		return "exec docker none";
	case CLI_WAIT_FOR:
		return "exec docker stop";
	default:
		return "";
	}
}

static void bash_reply(const char *indent, enum cli_complete what)
{
	if (what == CLI_FILE || what == CLI_DIR)
		printf("%sCOMPREPLY=($(compgen -%c -- \"$cur\"))\n%scompopt -o filenames 2>/dev/null\n", indent,
		       what == CLI_DIR ? 'd' : 'f', indent);
	else if (what == CLI_AGENT)
		printf("%sCOMPREPLY=($(compgen -W shell -- \"$cur\") $(compgen -d -- \"$cur\"))\n"
		       "%scompopt -o filenames 2>/dev/null\n",
		       indent, indent);
	else if (what == CLI_ANY)
		printf("%sCOMPREPLY=()\n", indent);
	else
		printf("%sCOMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))\n", indent, bash_words(what));
}

static void bash_case_label(const struct cli_verb *v, const struct cli_verb *above)
{
	if (above)
		printf("\t'%s %s')\n", above->name, v->name);
	else
		printf("\t%s)\n", v->name);
}

static void bash_options(const struct cli_verb *v, const struct cli_opt *o)
{
	/* Flags whose value can be completed. */
	for (; o && o->name; o++) {
		if (!o->metavar)
			continue;
		printf("\t\t--%s", o->name);
		if (o->letter)
			printf("|-%c", o->letter);
		printf(")\n");
		bash_reply("\t\t\t", o->complete);
		printf("\t\t\treturn ;;\n");
	}
}

static void bash_flag_list(const struct cli_opt *o)
{
	for (; o && o->name; o++)
		printf("--%s ", o->name);
}

static void bash_valued(const struct cli_opt *o)
{
	for (; o && o->name; o++) {
		if (o->metavar)
			printf(" --%s", o->name);
		if (o->metavar && o->letter)
			printf(" -%c", o->letter);
	}
}

/* The kind of all words after the first. */
static enum cli_complete more(const struct cli_verb *v)
{
	return v->complete_more ? v->complete_more : v->max_words == CLI_WORDS_ANY ? v->complete : CLI_ANY;
}

static void bash_verb(const struct cli_verb *v, const struct cli_verb *above)
{
	bash_case_label(v, above);
	/* Commands and docker's arguments are not completed here. */
	printf("\t\t_hull_count %d \"", above ? 3 : 2);
	bash_valued(v->options);
	bash_valued(v->more_options);
	printf("\" || return\n");
	if (v->options_end != CLI_OPTIONS_ANYWHERE)
		printf("\t\t((n > %d)) && return\n", v->options_end == CLI_OPTIONS_BEFORE_COMMAND);
	bool values = false;
	for (const struct cli_opt *o = v->options; o && o->name; o++)
		values = values || o->metavar;
	values = values || v->more_options;
	if (values) {
		printf("\t\tcase $prev in\n");
		bash_options(v, v->options);
		bash_options(v, v->more_options);
		printf("\t\tesac\n");
	}
	printf("\t\tif [[ $cur == -* ]]; then\n\t\t\tCOMPREPLY=($(compgen -W \"");
	bash_flag_list(v->options);
	bash_flag_list(v->more_options);
	printf("--help\" -- \"$cur\"))\n\t\t\treturn\n\t\tfi\n");
	if (v->max_words) {
		printf("\t\tif ((n == 0)); then\n");
		bash_reply("\t\t\t", v->complete);
		if (more(v) != CLI_ANY) {
			printf("\t\telif ((n < %u)); then\n", v->max_words);
			bash_reply("\t\t\t", more(v));
		}
		printf("\t\tfi\n");
	}
	printf("\t\t;;\n");
}

static void names(const struct cli_verb *const *v)
{
	for (; *v; v++)
		printf("%s%s", (*v)->name, v[1] ? " " : "");
}

static void bash(void)
{
	printf("# bash completion of hull; made by `hull completion bash`.\n"
	       "# Plain words from word $1 on to the one at the cursor, in n; the flags in $2 have values. False "
	       "behind --.\n"
	       "_hull_count() {\n"
	       "\tlocal i w\n\tn=0\n"
	       "\tfor ((i = $1; i < COMP_CWORD; i++)); do\n"
	       "\t\tw=${COMP_WORDS[i]}\n"
	       "\t\tif [[ $w == -- ]]; then\n\t\t\treturn 1\n"
	       "\t\telif [[ $w == = ]]; then\n\t\t\t((++i))\n" /* --flag=value is three words */
	       "\t\telif [[ \" $2 \" == *\" $w \"* ]]; then\n\t\t\t[[ ${COMP_WORDS[i + 1]} == = ]] || ((++i))\n"
	       "\t\telif [[ $w != -* ]]; then\n\t\t\t((++n))\n"
	       "\t\tfi\n\tdone\n\treturn 0\n}\n"
	       "_hull() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} n=0\n"
	       "\tif [[ $cur == = ]]; then\n\t\tcur=\n"
	       "\telif [[ $prev == = ]]; then\n\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
	       "\tlocal _hull_verbs='");
	names(cli_verbs);
	printf("'\n\tCOMPREPLY=()\n"
	       "\tif ((COMP_CWORD == 1)); then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$_hull_verbs --help --version\" -- \"$cur\"))\n"
	       "\t\treturn\n\tfi\n");
	for (const struct cli_verb *const *v = cli_verbs; *v; v++) {
		if (!(*v)->verbs)
			continue;
		printf("\tif [[ $verb == %s ]]; then\n\t\tif ((COMP_CWORD == 2)); then\n\t\t\tCOMPREPLY=($(compgen -W "
		       "\"",
		       (*v)->name);
		names((*v)->verbs);
		printf("\" -- \"$cur\"))\n\t\t\treturn\n\t\tfi\n\t\tverb=\"%s ${COMP_WORDS[2]}\"\n\tfi\n", (*v)->name);
	}
	printf("\tcase $verb in\n");
	for (const struct cli_verb *const *v = cli_verbs; *v; v++) {
		if (!(*v)->verbs)
			bash_verb(*v, NULL);
		for (const struct cli_verb *const *w = (*v)->verbs; w && *w; w++)
			bash_verb(*w, *v);
	}
	printf("\tesac\n}\ncomplete -F _hull hull\n");
}

/* --- zsh --- */

/* Inside single quotes and brackets of an _arguments specification. */
static void zsh_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *text))
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static const char *zsh_action(enum cli_complete what)
{
	switch (what) {
	case CLI_FILE:
		return "_files";
	case CLI_DIR:
		return "_files -/";
	case CLI_SANDBOX:
		return "_hull_sandboxes";
	case CLI_IMAGE:
		return "_hull_images";
	case CLI_TEMPLATE:
		return "_hull_templates";
	case CLI_JOB:
		return "_hull_jobs";
	case CLI_VERB:
		return "_hull_verbs";
	case CLI_ENGINE:
		return "(auto qemu)";
	case CLI_AGENT:
		return "{_alternative \"agents:agent:(shell)\" \"dirs:directory:_files -/\"}";
	case CLI_LOG:
		return "(keeper guest serial engine docker)";
	case CLI_SHELL:
		return "(bash zsh)";
	case CLI_WAIT:
		return "(exec docker none)";
	case CLI_WAIT_FOR:
		return "(exec docker stop)";
	default:
		return " ";
	}
}

static void zsh_options(const struct cli_opt *o)
{
	for (; o && o->name; o++) {
		const char *star = o->list ? "*" : "";
		if (o->letter)
			printf("\t\t'%s'{-%c,--%s%s}'[", star, o->letter, o->name, o->metavar ? "=" : "");
		else
			printf("\t\t'%s--%s%s[", star, o->name, o->metavar ? "=" : "");
		zsh_text(o->help);
		printf("]");
		if (o->metavar)
			printf(":%s:%s", o->metavar, zsh_action(o->complete));
		printf("' \\\n");
	}
}

static void zsh_words(const struct cli_verb *v)
{
	const char *first = v->complete == CLI_SANDBOX ? "sandbox" : "word";
	if (v->max_words == CLI_WORDS_ANY && !v->complete_more) {
		printf(" \\\n\t\t'*:%s:%s'", first, zsh_action(v->complete));
		return;
	}
	printf(" \\\n\t\t'1:%s:%s'", first, zsh_action(v->complete));
	if (v->max_words == CLI_WORDS_ANY)
		printf(" \\\n\t\t'*:word:%s'", zsh_action(v->complete_more));
	else
		for (unsigned i = 2; i <= v->max_words; i++)
			printf(" \\\n\t\t'%u:word:%s'", i, zsh_action(more(v)));
}

static void zsh_function(const struct cli_verb *v, const struct cli_verb *above)
{
	printf("_hull_%s%s%s() {\n\t_arguments -s -S \\\n", above ? above->name : "", above ? "_" : "", v->name);
	zsh_options(v->options);
	zsh_options(v->more_options);
	printf("\t\t'(-h --help)'{-h,--help}'[show this]'");
	if (v->options_end == CLI_OPTIONS_BEFORE_COMMAND)
		printf(" \\\n\t\t'1:name:%s' \\\n\t\t'*::command:_normal'", zsh_action(v->complete));
	else if (v->options_end == CLI_OPTIONS_BEFORE_NAME)
		printf(" \\\n\t\t'1:name:%s' \\\n\t\t'*::argument: '", zsh_action(v->complete));
	else if (v->max_words)
		zsh_words(v);
	printf("\n}\n");
}

static void zsh_list(const char *function, const struct cli_verb *const *v)
{
	printf("%s() {\n\tlocal -a list=(\n", function);
	for (; *v; v++) {
		printf("\t\t'%s:", (*v)->name);
		zsh_text((*v)->summary);
		printf("'\n");
	}
	printf("\t)\n\t_describe command list\n}\n");
}

static void zsh_dispatch(const char *function, const char *list, const char *prefix)
{
	printf("%s() {\n\tlocal context state line\n\t_arguments -C '1: :%s' '*:: :->rest'\n"
	       "\t[[ $state == rest ]] && (( $+functions[%s$words[1]] )) && %s$words[1]\n}\n",
	       function, list, prefix, prefix);
}

static void zsh(void)
{
	printf("#compdef hull\n# zsh completion of hull; made by `hull completion zsh`.\n"
	       "_hull_sandboxes() { local -a l=(${(f)\"$(hull ls -q 2>/dev/null)\"}); compadd -a l }\n"
	       "_hull_images() { local -a l=(${(f)\"$(hull image ls 2>/dev/null | awk 'NR > 1 {print $1}')\"}); "
	       "compadd -a l }\n"
	       "_hull_templates() { local -a l=(${(f)\"$(hull template ls 2>/dev/null | awk 'NR > 1 {print $1}')\"}); "
	       "compadd -a l }\n"
	       "_hull_jobs() { local -a l=(${(f)\"$(hull logs ${words[CURRENT-1]} --jobs 2>/dev/null | awk '$2 == "
	       "\"running\" {print $1}')\"}); compadd -a l }\n");
	zsh_list("_hull_verbs", cli_verbs);
	for (const struct cli_verb *const *v = cli_verbs; *v; v++) {
		char function[64], list[64], prefix[64];
		if (!(*v)->verbs) {
			zsh_function(*v, NULL);
			continue;
		}
		for (const struct cli_verb *const *w = (*v)->verbs; *w; w++)
			zsh_function(*w, *v);
		snprintf(function, sizeof function, "_hull_%s", (*v)->name);
		snprintf(list, sizeof list, "_hull_%s__verbs", (*v)->name);
		snprintf(prefix, sizeof prefix, "_hull_%s_", (*v)->name);
		zsh_list(list, (*v)->verbs);
		zsh_dispatch(function, list, prefix);
	}
	zsh_dispatch("_hull", "_hull_verbs", "_hull_");
	printf("if [[ $funcstack[1] == _hull ]]; then _hull \"$@\"; else compdef _hull hull; fi\n");
}

int cli_completion(const char *shell, struct hull_error *err)
{
	if (!strcmp(shell, "bash"))
		bash();
	else if (!strcmp(shell, "zsh"))
		zsh();
	else {
		_cleanup_free_ char *shown = hull_printable(shell, strlen(shell));
		return hull_fail(err, -EINVAL, "there is no completion for %s: there is one for bash and one for zsh",
				 shown ? shown : "that");
	}
	return 0;
}
