#include "tools/train/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/input.h"
#include "engine/models/load.h"
#include "tools/data/loader.h"
#include "tools/session.h"
#include "tools/train/log.h"
#include "tools/train/state.h"
#include "tools/train/validate.h"
#include "weights/sha256.h"
#include "weights/strict_json.h"

namespace retrace::tools {

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t stop_asked = 0;

// While it lives, an interrupt asks the run to stop after the step it is at; a second one ends the process as usual.
class StopOnSignal {
 public:
  StopOnSignal() {
    stop_asked = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { stop_asked = 1; };
    action.sa_flags = SA_RESETHAND | SA_RESTART;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, &before_[0]);
    ::sigaction(SIGTERM, &action, &before_[1]);
  }
  ~StopOnSignal() {
    ::sigaction(SIGINT, &before_[0], nullptr);
    ::sigaction(SIGTERM, &before_[1], nullptr);
  }

 private:
  struct sigaction before_[2]{};
};

class Run {
 public:
  Run(const TrainSettings& settings, Console& console)
      : s_(settings), console_(console), files_(settings.out) {
    check_files();
    data_ = data::open_dataset(settings.data);
    if (!s_.validation.empty()) validation_ = data::open_dataset(s_.validation);
    if (validation_) check_classes();
    check_names();
    prepare_input();
    device_ = open_device(s_.common);
    classes_ = int(data_->labels().size());
    options_ = options();
    begin();
  }

  int run() {
    const StopOnSignal signals;
    begun_ = std::chrono::steady_clock::now();
    if (trainer_->steps_done() == 0) console_.note(describe());
    if (is_whole()) {
      console_.note("the run is complete");
      if (!fs::exists(files_.best)) save();
    } else {
      train();
    }
    if (!is_whole()) {
      console_.error(
          fmt::format("stopped at step {} of {}; --resume goes on", trainer_->steps_done(), steps_));
      return 1;
    }
    console_.result(summary());
    return 0;
  }

 private:
  // A run that is there is neither overwritten nor made up.
  void check_files() const {
    if (s_.resume) {
      if (fs::exists(files_.last)) return;
      throw Error(fmt::format("{}: no such file, so there is no run to go on with", files_.last.string()));
    }
    if (fs::exists(files_.last)) {
      throw UsageError(fmt::format("{}: a run is there already; go on with it (--resume) or remove it",
                                   files_.last.string()));
    }
    if (fs::exists(files_.best)) {
      throw UsageError(
          fmt::format("--out {}: there already; remove it or choose another name", files_.best.string()));
    }
  }

  // What metadata cannot hold would otherwise be found out only when the first file is written.
  void check_names() const {
    const nlohmann::ordered_json wanted = s_.deciding();  // items() would not keep a temporary
    for (const auto& [option, value] : wanted.items()) {
      if (value.is_string() && !weights::is_utf8(value.get<std::string>())) throw UsageError(option + ": not UTF-8");
    }
    for (const std::string& label : data_->labels()) {
      if (!weights::is_utf8(label)) throw Error(fmt::format("{}: the class '{}' is not UTF-8", s_.data, label));
    }
  }

  void check_classes() const {
    const auto &ours = data_->labels(), &theirs = validation_->labels();
    if (ours.size() != theirs.size()) {
      throw Error(fmt::format("--validate {}: {} classes, expected the {} of {}", s_.validation,
                              theirs.size(), ours.size(), s_.data));
    }
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if (ours[i] == theirs[i]) continue;
      throw Error(fmt::format("--validate {}: class {} is '{}', expected '{}' as in {}", s_.validation, i,
                              theirs[i], ours[i], s_.data));
    }
  }

  // The side of the network's input: what is asked for, else the data's own where all pictures are squares of one size
  // (as far as the first tells), else the model's.
  void prepare_input() {
    const ModelInput usual = model_info(s_.model).input;
    const Picture first = data_->sample(0).picture;
    const bool square = first.width == first.height && s_.data.rfind("folder:", 0) != 0;
    notes_.labels = data_->labels();
    notes_.input = usual;
    notes_.input.crop = s_.crop > 0 ? s_.crop : square ? first.width : usual.crop;
    notes_.input.resize = s_.resize >= 0 ? s_.resize : square ? 0 : usual.resize;
    if (!s_.mean.empty()) std::copy_n(s_.mean.begin(), 3, notes_.input.mean.begin());
    if (!s_.std.empty()) std::copy_n(s_.std.begin(), 3, notes_.input.std.begin());
    input_ = preprocessing_of(notes_.input);
    augmentation_ = data::parse_augmentation(s_.augment);
    if (augmentation_.crop >= notes_.input.crop) {
      throw UsageError(fmt::format("--augment {}: expected a crop below the input's {} pixels", s_.augment,
                                   notes_.input.crop));
    }
  }

  TrainOptions options() {
    TrainOptions o;
    o.model = s_.model;
    o.classes = classes_;
    const bool sgd = s_.optimizer == "sgd";
    o.optimizer.kind = sgd ? OptimizerKind::sgd : OptimizerKind::adamw;
    o.optimizer.momentum = s_.momentum;
    o.optimizer.nesterov = !s_.plain_momentum;
    o.optimizer.weight_decay = s_.weight_decay >= 0 ? s_.weight_decay : sgd ? 5e-4f : 0.05f;
    o.optimizer.clip_norm = s_.clip;
    const auto batch = std::size_t(s_.common.batch);
    if (data_->size() < batch) {
      throw Error(
          fmt::format("{}: {} samples, expected at least one batch of {}", s_.data, data_->size(), batch));
    }
    per_epoch_ = std::int64_t(data_->size() / batch);
    steps_ = s_.steps > 0 ? s_.steps : s_.epochs * per_epoch_;
    validate_every_ = s_.validate_every > 0 ? s_.validate_every : per_epoch_;
    save_every_ = s_.checkpoint_every > 0 ? s_.checkpoint_every : validate_every_;
    o.schedule = {.peak = s_.rate > 0 ? s_.rate : sgd ? 0.1 : 0.001, .last = s_.last_rate};
    o.schedule.warm_up = s_.warm_up >= 0 ? s_.warm_up : steps_ / 20;
    if (o.schedule.warm_up > steps_) {
      throw UsageError(
          fmt::format("--warm-up {}: longer than the run's {} steps", o.schedule.warm_up, steps_));
    }
    o.schedule.steps = steps_;
    o.smoothing = s_.smoothing;
    o.dropout = s_.dropout;
    o.average = s_.average;
    o.seed = s_.common.seed;
    return o;
  }

  // The trainer, fresh or as the state file says, and the log.
  void begin() {
    if (s_.resume) {
      SavedRun saved = load_state(files_.last, s_, data_->labels(), data_->size());
      if (saved.state.step > steps_) {
        throw Error(fmt::format("{}: at step {} of {}", files_.last.string(), saved.state.step, steps_));
      }
      trainer_.emplace(*device_, options_, saved.values);
      try {
        trainer_->restore(saved.state.step, saved.arrays);
      } catch (const Error& error) {
        throw Error(fmt::format("{}: {}", files_.last.string(), error.what()));
      }
      state_ = saved.state;
      if (validation_ && state_.best_step > 0 && !fs::exists(files_.best)) {
        console_.note(fmt::format("{} is gone; the best model is looked for anew", files_.best.string()));
        state_.best_accuracy = -1;
        state_.validated = 0;
      }
      if (!is_whole()) console_.note(fmt::format("going on at step {} of {}", state_.step, steps_));
    } else if (!s_.start.empty()) {
      const weights::Checkpoint checkpoint = weights::read_checkpoint(s_.start);
      weights::check_content(checkpoint);
      const weights::Naming naming = fit_for(checkpoint, s_.model).naming;
      for (const std::string& note : naming.notes()) console_.note(note);
      trainer_.emplace(*device_, options_, take_parameters(checkpoint, {s_.model, classes_, false, naming}));
    } else {
      trainer_.emplace(*device_, options_,
                       initial_parameters(s_.model, classes_, s_.common.seed, s_.zero_residual));
    }
    state_.samples = std::int64_t(data_->size());
    if (files_.log.has_parent_path()) make_folder(files_.log.parent_path());
    log_.emplace(files_.log, state_.step);
  }

  std::string describe() const {
    return fmt::format("{} on {}: {} pictures of {}x{}, {} classes; {} steps of {} ({:.1f} epochs) on {}",
                       s_.model, s_.data, data_->size(), input_.crop, input_.crop, classes_, steps_,
                       s_.common.batch, double(steps_) / double(per_epoch_), device_->info().id);
  }

  // All steps are done, and validated where that is asked for.
  bool is_whole() const { return trainer_->steps_done() == steps_ && !wants_validation(); }

  bool wants_validation() const {
    const std::int64_t done = trainer_->steps_done();
    return validation_ && done > state_.validated && (done % validate_every_ == 0 || done == steps_);
  }

  void train() {
    // Where a run stopped amid its validation.
    if (wants_validation()) {
      validate();
      save();
    }
    console_.begin_progress(std::size_t(steps_), "training", std::size_t(trainer_->steps_done()));
    data::LoaderOptions loading{.batch = s_.common.batch, .input = input_, .augmentation = augmentation_};
    loading.seed = s_.common.seed;
    loading.first_step = std::size_t(trainer_->steps_done());
    loading.threads = s_.workers;
    data::BatchLoader loader(*data_, loading);
    while (trainer_->steps_done() < steps_ && !stop_asked) step(*loader.next());
    if (stop_asked && !is_whole()) save();
    console_.end_progress();
  }

  void step(const data::Batch& batch) {
    const Tensor x = normalized_input(*device_, batch.pixels, batch.n, batch.height, batch.width,
                                      notes_.input.mean, notes_.input.std);
    const StepResult result =
        trainer_->step(x, Tensor::from_host(*device_, {batch.n, batch.classes}, batch.targets));
    count(batch, result);
    const std::int64_t done = result.step;
    const bool last = done == steps_, validates = wants_validation();
    const bool saves = done % save_every_ == 0 || last || validates;
    if (done % s_.log_every == 0 || last || validates) log_window(batch.epoch, result);
    console_.set_status(fmt::format("loss {:.3f}, accuracy {:.1f} %, rate {:.2g}", smooth_loss_,
                                    100 * smooth_accuracy_, result.rate));
    console_.advance();
    if (saves) trainer_->require_finite();
    if (validates) validate();
    if (saves) save();
  }

  void count(const data::Batch& batch, const StepResult& result) {
    const std::size_t n = std::size_t(batch.n), classes = std::size_t(batch.classes);
    int right = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto row = result.logits.begin() + std::ptrdiff_t(i * classes);
      const std::size_t best = std::size_t(std::max_element(row, row + std::ptrdiff_t(classes)) - row);
      right += batch.targets[i * classes + best] > 0;  // of several objects either counts
    }
    Window& w = state_.window;
    w.steps += 1;
    w.samples += batch.n;
    w.right += right;
    w.loss += result.loss;
    w.norm += result.gradient_norm;
    const double accuracy = double(right) / double(n), keep = smooth_loss_ < 0 ? 0 : 0.95;
    smooth_loss_ = keep * smooth_loss_ + (1 - keep) * result.loss;
    smooth_accuracy_ = keep * smooth_accuracy_ + (1 - keep) * accuracy;
  }

  void log_window(std::size_t epoch, const StepResult& result) {
    const Window& w = state_.window;
    const double steps = double(w.steps);
    log_->add({{"step", result.step},
               {"epoch", epoch},
               {"loss", w.loss / steps},
               {"accuracy", double(w.right) / double(w.samples)},
               {"rate", result.rate},
               {"gradient_norm", w.norm / steps},
               {"seconds", std::round(100 * seconds()) / 100}});
    state_.window = {};
  }

  // An interrupt ends it without a result; the state then says that this step is still to be validated.
  void validate() {
    const std::int64_t step = trainer_->steps_done();
    std::optional<Validation> v;
    try {
      v = validate_values(*device_, s_.model, trainer_->learnt(), *validation_, input_, notes_.input,
                          s_.common.batch, s_.workers, [] { return stop_asked != 0; });
    } catch (const Error& error) {
      throw Error(fmt::format("validation after step {}: {}", step, error.what()));
    }
    if (!v) return;
    // A run that was killed here goes on with its line in the log.
    if (log_->lines().empty() || log_->lines().back()["step"] != step ||
        !log_->lines().back().contains("validation_loss")) {
      log_->add({{"step", step}, {"validation_loss", v->loss}, {"validation_accuracy", v->accuracy}});
    }
    state_.validated = step;
    state_.accuracy = v->accuracy;
    if (v->accuracy <= state_.best_accuracy) return;
    state_.best_accuracy = v->accuracy;
    state_.best_step = step;
    write_model(step);
  }

  void write_model(std::int64_t step) {
    std::map<std::string, std::string> more{{"trained_on", s_.data}, {"steps", std::to_string(step)}};
    if (validation_) {
      more["validated_on"] = s_.validation;
      more["accuracy"] = fmt::format("{}", state_.best_accuracy);
    }
    save_model(files_.best, *trainer_, s_, notes_, more);
  }

  void save() {
    state_.step = trainer_->steps_done();
    RunState state = state_;
    state.seconds = seconds();
    if (!validation_) write_model(state_.step);
    save_state(files_.last, *trainer_, state, s_, notes_);
    write_curves(files_.curves, log_->lines());
  }

  std::string summary() const {
    std::string text =
        fmt::format("{}: {} after {} steps, {:.0f} s", files_.best.string(), s_.model, steps_, seconds());
    if (validation_) {
      text += fmt::format("; accuracy {:.2f} % on {} (best, at step {}; at the end {:.2f} %)",
                          100 * state_.best_accuracy, s_.validation, state_.best_step, 100 * state_.accuracy);
    }
    return text + fmt::format("\n  {}\n  {}\n  {}\n", files_.last.string(), files_.log.string(),
                              files_.curves.string());
  }

  double seconds() const {
    return state_.seconds + std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  }

  const TrainSettings& s_;
  Console& console_;
  RunFiles files_;
  std::unique_ptr<data::Dataset> data_, validation_;
  ModelNotes notes_;
  image::Preprocessing input_;
  data::Augmentation augmentation_;
  std::unique_ptr<Device> device_;
  int classes_ = 0;
  TrainOptions options_;
  std::int64_t per_epoch_ = 0, steps_ = 0, validate_every_ = 0, save_every_ = 0;
  std::optional<Trainer> trainer_;
  std::optional<TrainLog> log_;
  RunState state_;
  double smooth_loss_ = -1, smooth_accuracy_ = 0;
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace

int run_training(const TrainSettings& settings, Console& console) {
  settings.check();
  (void)model_info(settings.model);
  return Run(settings, console).run();
}

}  // namespace retrace::tools
