// The book's search. PAGES comes from sections.js: pages with their sections, each with its heading and its prose.
"use strict";

// Small letters without their marks, as many as there were: "É" finds "e", and places stay where they are.
const fold = text => text.normalize("NFD").replace(/\p{M}/gu, "").normalize("NFC").toLowerCase();

// A word without its ending: "freezing" also finds "freeze".
const stem = word => word.replace(/^([a-z]{4,}?)(ies|ing|ed|es|e|s|y)$/, "$1");

const isLetter = letter => /[\p{L}\p{N}]/u.test(letter ?? "");

// Words that say little, where others say more.
const SMALL = new Set("a an and are do for how i in is it of on or the to what with".split(" "));

// The words of a question: of a call such as "train()" its name.
function split(question) {
  const words = [...new Set(fold(question).split(/\s+/).map(word => word.replace(/\(\)$/, "")).filter(Boolean))];
  const large = words.filter(word => !SMALL.has(word));
  return large.length ? large : words;
}

// How well a text holds a word: at the beginning of one of its own, inside one, or not at all.
function fit(text, word) {
  let best = 0;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    if (!isLetter(text[at - 1])) return isLetter(text[at + word.length]) ? 2 : 3;
    best = 1;
  }
  return best;
}

// What a word of the question is worth in a section.
function worth(section, word) {
  const parts = [[8, section.foldedHeading], [3, section.foldedTitle], [2, section.foldedText]];
  const points = word => Math.max(...parts.map(([weight, text]) => weight * fit(text, word)));
  return points(word) || points(stem(word)) / 2;
}

// Whether a section is the entry of a name, such as "predict" or "Model.predict". Only places of entries have dots.
const isEntry = (section, name) => section.id.includes(".") && fold(`.${section.id}`).endsWith(`.${name}`);

// Whether all words stand in a text, each at the beginning of one of its own.
const holds = (text, words) => words.every(word => fit(text, word) > 1 || fit(text, stem(word)) > 1);

// The sections that hold all words, or else as many as any section holds. The best ones come first: the entry of exactly
// this name; methods of this name, in the order of the book; what has all words in its heading; then the others.
function find(sections, words) {
  const phrase = words.join(" ");
  const found = [];
  for (const section of sections) {
    const points = words.map(word => worth(section, word));
    let held = points.filter(Boolean).length;
    let score = points.reduce((a, b) => a + b, 0);
    if (section.foldedHeading === phrase) score += 40;
    if (section.foldedHeading.includes(phrase)) score += 10;
    if (section.foldedText.includes(phrase)) score += 5;
    if (holds(section.foldedHeading, words)) score += 1000;
    if (isEntry(section, phrase)) [held, score] = [words.length, section.foldedHeading === phrase ? 10001 : 10000];
    if (held) found.push({ section, held, score });
  }
  const most = Math.max(...found.map(one => one.held), 0);
  return found.filter(one => one.held === most).sort((a, b) => b.score - a.score);
}

// The places of the words in a text, as [first, last], in order and apart from one another.
function places(text, words) {
  const found = [];
  for (const word of words) {
    const shown = text.includes(word) ? word : stem(word);
    for (let at = text.indexOf(shown); at >= 0; at = text.indexOf(shown, at + shown.length)) {
      found.push([at, at + shown.length]);
    }
  }
  found.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  return found.filter(([first], i) => !found.slice(0, i).some(other => other[1] > first));
}

// The part of a text around its first word of the question, cut between words.
function excerpt(section, words) {
  const length = 220;
  const { text, foldedText } = section;
  const first = places(foldedText, words)[0]?.[0] ?? 0;
  let from = first < length / 2 ? 0 : text.indexOf(" ", first - length / 3) + 1;
  if (from > first) from = first;
  let to = text.lastIndexOf(" ", from + length);
  if (to < from + length / 2 || text.length < from + length) to = Math.min(from + length, text.length);
  return (from ? "… " : "") + text.slice(from, to) + (to < text.length ? " …" : "");
}

// Puts a text into an element, its words of the question marked.
function mark(element, text, words) {
  let done = 0;
  for (const [first, last] of places(fold(text), words)) {
    const marked = document.createElement("mark");
    marked.textContent = text.slice(first, last);
    element.append(text.slice(done, first), marked);
    done = last;
  }
  element.append(text.slice(done));
  return element;
}

function make(tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  return element;
}

// One result: page › section, which leads there, and an excerpt.
function result({ section }, words) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `${section.url}?highlight=${encodeURIComponent(words.join(" "))}#${section.id}`;
  if (section.heading !== section.title) {
    const page = make("span", "page");
    page.textContent = `${section.title} › `;
    link.append(page);
  }
  item.append(mark(link, section.heading, words), mark(make("p", "excerpt"), excerpt(section, words), words));
  return item;
}

function count(n, held, asked) {
  if (!n) return "Nothing was found. Try fewer words, or other ones.";
  const sections = n === 1 ? "1 section" : `${n} sections`;
  return held < asked ? `No section has all words. With ${held} of ${asked}: ${sections}.` : `Found: ${sections}.`;
}

// The sections of pages, one after the other, ready to be searched.
function flat(pages) {
  return pages.flatMap(({ title, url, sections }) => sections.map(section => ({
    ...section, title, url, foldedTitle: fold(title),
    foldedHeading: fold(section.heading), foldedText: fold(section.text),
  })));
}

function search(question) {
  const words = split(question);
  if (!words.length) return;
  const found = find(flat(PAGES), words);
  document.title = `${question} - ${document.title}`;
  document.getElementById("search-results").append(...found.slice(0, 50).map(one => result(one, words)));
  document.getElementById("search-count").textContent = count(found.length, found[0]?.held, words.length);
}

const question = new URLSearchParams(location.search).get("q") ?? "";
const field = document.querySelector("article form.bd-search input");
field.value = question;
field.focus();
search(question);
