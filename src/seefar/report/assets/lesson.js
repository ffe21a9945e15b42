// Classroom mode: guess the class of an image, then see people's votes, the prediction, its map, and the hidden evidence.

const lesson = byId("lesson"), LESSON_CHOICES = 4;
const { correct } = page, correctShares = correct && unpack(correct.shares, Float32Array); // null: only classes are known
const correctVotes = correct?.votes && unpack(correct.votes, Uint16Array);
let correctPictures = null, deck = [], question = null, questions = 0, score = { asked: 0, you: 0, network: 0 };

/** A mistake as a question. Mistakes with a doubtful label are left out. */
function questionOf(mistake) {
  const k = classes.length, at = mistake.number * k, shares = probabilities.subarray(at, at + k);
  const asked = votes?.subarray(at, at + k), most = (one) => (asked ? asked[one] : 0) + shares[one];
  const others = [...shares.keys()].filter((one) => one !== mistake.true && one !== wrongClass(mistake)).sort((a, b) => most(b) - most(a));
  const choices = [mistake.true, wrongClass(mistake), ...others].slice(0, LESSON_CHOICES).sort((a, b) => a - b);
  return {
    mistake: mistake.broken ? null : mistake, index: mistake.index, label: mistake.true, predicted: mistake.predicted, choices,
    shares: choices.map((one) => shares[one]), votes: asked && choices.map((one) => asked[one]), asked: asked?.reduce((a, b) => a + b, 0),
    draw: (context) => pictures.draw(context, mistake.number),
  };
}

/** A correct prediction as a question: `at` of those that the page has. */
function correctQuestion(at) {
  const each = correct.choices[at].length, from = at * each, order = [...correct.choices[at].keys()].sort((a, b) => correct.choices[at][a] - correct.choices[at][b]);
  const people = correctVotes && order.map((one) => correctVotes[from + one]);
  return {
    index: correct.index[at], label: correct.choices[at][0], predicted: correct.choices[at][0],
    choices: order.map((one) => correct.choices[at][one]), shares: order.map((one) => correctShares[from + one]), votes: people, asked: correct.asked?.[at],
    draw: (context) => correctPictures.draw(context, at),
  };
}

const shuffled = (items) => items.map((item) => [Math.random(), item]).sort(([a], [b]) => a - b).map(([, item]) => item);

/** Start a quiz with the mistakes that are shown, each second question on average a correct prediction. */
async function startLesson(first) {
  correctPictures ??= await Sheet.load(correct.pictures);
  const wrong = shuffled(shown.filter(({ fault }) => fault !== "label").map((mistake) => () => questionOf(mistake)));
  const right = shuffled(correct.index.map((_, at) => () => correctQuestion(at)));
  deck = [];
  while (wrong.length) deck.push(right.length && Math.random() < 0.5 ? right.pop() : wrong.pop());
  if (first) deck.unshift(() => questionOf(first));
  [questions, score] = [0, { asked: 0, you: 0, network: 0 }];
  if (dialog.open) dialog.close();
  lesson.showModal();
  ask();
}

function ask() {
  if (!deck.length) {
    lesson.close();
    return;
  }
  question = { ...deck.shift()(), guess: null, step: 0 };
  const { mistake } = question, explained = mistake?.map !== undefined;
  question.steps = [question.asked ? "votes" : "", "prediction", explained ? "map" : "", explained ? "hidden" : ""].filter(Boolean);
  const buttons = question.choices.map((one, number) => {
    const button = element("button", `${number + 1}  `, { type: "button" });
    button.append(bdi(classes[one]), element("span", "", { className: "lesson-bars" }));
    button.addEventListener("click", () => guess(number));
    return button;
  });
  byId("lesson-choices").replaceChildren(...buttons);
  byId("lesson-words").textContent = "Which class is it?";
  byId("lesson-source").textContent = "";
  byId("lesson-title").textContent = `Question ${++questions}`;
  lesson.classList.remove("with-map");
  drawLesson();
  showScore();
  byId("lesson-title").focus();
}

function drawLesson() {
  const { mistake, step, steps } = question, canvas = byId("lesson-picture"), state_ = steps[step - 1], withMap = state_ === "map" || state_ === "hidden";
  // The question is enlarged smoothly, since people do not recognise large squares; cells of a map need them.
  const side = withMap ? Math.max(1, Math.round((canvas.clientWidth || 420) / pictures.width)) : 1;
  Object.assign(canvas, { width: pictures.width * side, height: pictures.height * side });
  const context = canvas.getContext("2d");
  question.draw(context);
  canvas.setAttribute("aria-label", `Test image ${question.index}`);
  if (!withMap) return;
  const view = viewOf(mistake), map = Object.assign(byId("lesson-map"), { width: canvas.width, height: canvas.height });
  if (state_ === "hidden") putPixels(context, hidePixels(view.sheet.pixels(view.at), view.mask, view.maps.grid.hide));
  putPixels(map.getContext("2d"), mapOver(view, view.maps.contrast));
  for (const one of [context, map.getContext("2d")]) outline(one, view.mask, view.sheet.width, view.sheet.height);
}

function guess(number) {
  if (question.guess !== null || question.step) return;
  question.guess = question.choices[number];
  byId("lesson-choices").children[number].classList.add("guess");
  byId("lesson-next").focus();
  forward();
}

/** The next step of a question, or the next question. */
function forward() {
  if (question.step === question.steps.length) {
    ask();
    return;
  }
  const { mistake, label, predicted, choices } = question, words = byId("lesson-words");
  const now = question.steps[question.step++], buttons = [...byId("lesson-choices").children];
  const bars = (source, values, total) => {
    byId("lesson-source").textContent = source;
    buttons.forEach((button, number) => {
      const share = values[number] === undefined ? undefined : total ? values[number] / total : 0;
      button.querySelector(".lesson-bars").replaceChildren(...amount(share, share === undefined ? "–" : percent(share), "").childNodes);
    });
  };
  if (now === "votes") {
    bars(`${question.asked} people`, question.votes, question.asked);
    words.textContent = `How ${question.asked} people voted.`;
  } else if (now === "prediction") {
    bars("The network", question.shares, 1);
    if (question.guess !== null) { // without a guess the question does not count
      score.asked += 1;
      score.you += question.guess === label;
      score.network += predicted === label;
    }
    buttons[choices.indexOf(label)].classList.add("right");
    const yours = question.guess === null ? "" : question.guess === label ? "You are right. " : "You chose another class. ";
    words.replaceChildren(`${yours}The label is `, bdi(classes[label]), "; the network predicts ", bdi(classes[predicted]), ".");
  } else if (now === "map") {
    lesson.classList.add("with-map");
    words.replaceChildren("Red is evidence for ", bdi(classes[predicted]), " rather than ", bdi(classes[label]), "; the strongest is outlined.");
  } else {
    const known = afterHiding(mistake, label);
    bars("The network, evidence hidden", choices.map((one) => known.get(one)), 1);
    words.replaceChildren(`Without the outlined ${whole(mistake.hidden_share)} of the image the network predicts `, bdi(classes[mistake.answer]), ` (${percent(mistake.answer_after)}).`);
  }
  drawLesson();
  showScore();
}

function showScore() {
  byId("lesson-score").textContent = score.asked ? `You: ${score.you} of ${score.asked}, network: ${score.network}` : "";
  byId("lesson-next").textContent = question.step === question.steps.length ? "Next image (space)" : "Continue (space)";
}

byId("classroom").hidden = !correct;
byId("classroom").addEventListener("click", () => startLesson());
byId("lesson-next").addEventListener("click", forward);
byId("lesson-close").addEventListener("click", () => lesson.close());
lesson.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") {
    event.preventDefault();
    forward();
  } else if (question.choices[Number(event.key) - 1] !== undefined) guess(Number(event.key) - 1);
});
addEventListener("resize", () => lesson.open && drawLesson());
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "p" && !typing(event) && !lesson.open && correct && mistakes.length && pictures) startLesson(dialog.open ? seen : undefined);
});
