"""Selectors are transformers as scikit-learn has them, find what matters, and draw from their own generator only."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from circuits import rpz
from classical import BSplineKAN, FourierKAN
from classical.importance import SCORES
from classical.selectors import KANClassificationSelector, KANRegressionSelector, spline_network
from classical.training import train
from models import F64, copied, drawn, identical
from qkan import QKAN

Classes, Numbers = KANClassificationSelector, KANRegressionSelector


@parametrize_with_checks([Classes(epochs=2), Numbers(epochs=2, validation_fraction=0.2)])
def test_conventions_of_scikit_learn_are_kept(estimator, check):
    check(estimator)


def circuits(inputs, outputs):
    return QKAN([inputs, 3, outputs], rpz(1))


def splines(inputs, outputs):
    return BSplineKAN([inputs, 3, outputs], grid_size=2, degree=1, domain=(-3, 3))


def chosen_by(selector: Any) -> list[int]:
    return selector.get_support(indices=True).tolist()


def planted(samples=120, features=6):
    """Standard normal columns on different scales, a class and a number that depend on columns 1 and 4."""
    x = np.random.default_rng(0).normal(size=(samples, features))
    number = 2 * np.tanh(x[:, 1]) + x[:, 4] ** 2
    return x * 10.0 ** np.arange(features) + 3, np.where(number > 1, "high", "low"), number


@pytest.mark.parametrize(
    ("selector", "network", "names"),
    [(Classes, None, list(SCORES)), (Numbers, None, list(SCORES)), (Numbers, circuits, ["L1", "L2", "SI", "KO"])],
)
def test_columns_that_matter_are_found(selector, network, names):
    x, label, number = planted()
    found = {}

    def importance(model, inputs, loss):
        found.update({name: SCORES[name](model, inputs, loss) for name in names})
        return found["L2"]

    chosen = selector(2, importance=importance, network=network, epochs=50, batch_size=30, random_state=0)
    chosen.fit(x, label if selector is Classes else number)
    assert chosen_by(chosen) == [1, 4]
    for name, scores in found.items():
        assert scores[[1, 4]].mean() > 1.4 * scores[[0, 2, 3, 5]].mean(), name
        if "coefficients" not in name:  # which keep much of how they were drawn
            assert sorted(scores.topk(2).indices.tolist()) == [1, 4], name


@pytest.mark.parametrize("name", SCORES)
def test_a_name_is_a_score(name):
    x, label, _ = planted(20)
    selector = Classes(importance=name, network=splines, epochs=1, random_state=0).fit(x, label)
    given = []
    Classes(importance=kept(SCORES[name], given), network=splines, epochs=1, random_state=0).fit(x, label)
    assert selector.scores_.tolist() == given[0].tolist()


def kept(score, given):
    def keep(model, x, loss):
        given.append(score(model, x, loss))
        return given[-1]

    return keep


def test_a_penalty_silences_what_does_not_matter():
    """Of the columns that do not, the share of the norm becomes smaller."""
    x, _, number = planted()
    shares = []
    for penalty in (0, 1.0):
        selector = Numbers(network=splines, penalty=penalty, epochs=80, batch_size=30, random_state=0)
        scores = selector.fit(x, number).scores_
        shares.append(scores[[0, 2, 3, 5]].sum() / scores.sum())
    assert shares[1] < 0.5 * shares[0]


def test_without_a_penalty_any_network_has_sensitivities():
    x, _, number = planted(20)

    class Affine(nn.Linear):
        def reset_parameters(self, generator=None):
            nn.init.uniform_(self.weight, generator=generator)
            nn.init.zeros_(self.bias)

    Numbers(importance="SI", network=Affine, penalty=0, epochs=1).fit(x, number)
    with pytest.raises(TypeError, match=r"begins with Affine.*only the sensitivity is known of such models"):
        Numbers(importance="SI", network=Affine, epochs=1).fit(x, number)


def test_angles_have_no_norm():
    x, _, number = planted()
    with pytest.raises(TypeError, match="take the contribution norm"):
        Numbers(importance="L1 of coefficients", network=circuits, epochs=1).fit(x, number)


@pytest.mark.parametrize(
    ("asked", "kept"), [(None, 3), (1, 1), (np.int64(6), 6), (0.5, 3), (0.01, 1), (1.0, 6), (np.float32(0.34), 2)]
)
def test_as_many_columns_are_kept_as_asked(asked, kept):
    x, label, _ = planted(20)
    selector = Classes(asked, epochs=1).fit(x, label)
    assert np.shape(selector.transform(x)) == (20, kept)
    best = np.argsort(-selector.scores_)[:kept]
    assert sorted(best) == chosen_by(selector)


def test_the_first_ones_are_kept_among_equals():
    x, label, _ = planted(20)
    selector = Classes(2, importance=lambda model, x, loss: torch.tensor([0.0, 1, 0, 1, 1, 0]), epochs=1)
    assert chosen_by(selector.fit(x, label)) == [1, 3]


def test_the_random_state_alone_decides():
    x, label, _ = planted(20)
    before = torch.get_rng_state()
    first, second, other = (
        Classes(epochs=2, validation_fraction=0.5, random_state=seed).fit(x, label) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert identical(copied(first.network_), copied(second.network_))
    assert first.scores_.tolist() == second.scores_.tolist() != other.scores_.tolist()


def test_numbers_that_are_whole_are_not_classes():
    """As the progression of diabetes: scikit-learn would take such numbers for 214 classes."""
    x, _, number = planted(30)
    selector = Numbers(epochs=1).fit(x, (10 * number).astype(int))
    assert selector.network_.widths == (6, 13, 1)
    assert Classes(epochs=1).fit(x, np.arange(30) % 4).network_.widths == (6, 13, 4)


def test_the_scale_and_place_of_columns_and_numbers_do_not_matter():
    x, _, number = planted(30)
    plain, moved = (
        Numbers(network=doubles, epochs=2, random_state=0).fit(*each)
        for each in ((x, number), (7 * x - 3, 100 * number + 5))
    )
    np.testing.assert_allclose(moved.scores_, plain.scores_, rtol=1e-9)


def doubles(inputs, outputs):
    return FourierKAN([inputs, 2, outputs], degree=1, dtype=F64)


def test_samples_that_judge_are_not_learnt():
    x, label, _ = planted(40)
    seen = []

    def score(model, inputs, loss):
        assert torch.isfinite(loss(model(inputs)))
        seen.append(inputs)
        return inputs.abs().mean(0)

    selector = Classes(importance=score, network=doubles, epochs=1, validation_fraction=0.25, random_state=0)
    selector.fit(x, label)
    judging = selector.scaler_.inverse_transform(seen[0].numpy())
    rows = [int(np.abs(x - row).sum(1).argmin()) for row in judging]
    assert len(set(rows)) == len(seen[0]) == 10
    rest = np.delete(x, rows, axis=0)
    np.testing.assert_allclose(selector.scaler_.mean_, rest.mean(0))


def test_it_joins_a_pipeline_that_is_searched_and_stored():
    x, label, _ = planted(60)
    pipeline = make_pipeline(Classes(network=circuits, epochs=1, random_state=0), LogisticRegression())
    grid = {"kanclassificationselector__importance": ["L2", "SI"], "kanclassificationselector__epochs": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(x, label)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert (again.predict(x) == search.predict(x)).all()


def test_names_and_options_travel():
    pandas = pytest.importorskip("pandas")
    x, label, _ = planted(20)
    selector = Classes(0.5, importance="KO", epochs=1).set_output(transform="pandas")
    table = pandas.DataFrame(x, columns=list("abcdef"))
    chosen = selector.fit_transform(table, label)
    assert list(chosen) == selector.get_feature_names_out().tolist()
    copy: Any = clone(selector)
    assert copy.get_params() == selector.get_params()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_features_to_select": 7}, ValueError, "`n_features_to_select` .* 1 to the 6 features .* but is 7"),
        ({"n_features_to_select": 0}, ValueError, "`n_features_to_select`"),
        ({"n_features_to_select": 1.5}, ValueError, "`n_features_to_select`"),
        ({"n_features_to_select": True}, ValueError, "`n_features_to_select` .* but is True"),
        ({"n_features_to_select": "all"}, ValueError, "`n_features_to_select` .* but is 'all'"),
        ({"importance": "L3"}, ValueError, "`importance` must be one of L1, L2, .* but is 'L3'"),
        ({"importance": 2}, TypeError, "`importance` must be a name or a function"),
        ({"importance": lambda *_: torch.ones(2)}, ValueError, r"`importance` must give 6 numbers, .* shape \(2,\)"),
        ({"network": nn.Flatten}, TypeError, None),
        ({"network": lambda i, o: nn.Flatten()}, TypeError, "`network` must make a module with `reset_parameters"),
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1"),
        ({"batch_size": 2.0}, TypeError, "`batch_size` must be an integer"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must be positive"),
        ({"penalty": -0.1}, ValueError, "`penalty` must be 0 or positive, but is -0.1"),
        ({"penalty": None}, TypeError, "`penalty` must be a number"),
        ({"validation_fraction": 1}, ValueError, r"`validation_fraction` must be in \[0, 1\)"),
        ({"validation_fraction": "half"}, ValueError, "`validation_fraction`"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error, message):
    x, label, _ = planted(20)
    with pytest.raises(error, match=message):
        Classes(**{"epochs": 1, **options}).fit(x, label)


def test_targets_of_the_other_kind_are_refused():
    x, label, number = planted(20)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        Classes(epochs=1).fit(x, number)
    with pytest.raises(ValueError, match="could not convert string"):
        Numbers(epochs=1).fit(x, label)
    with pytest.raises(ValueError, match="only one class"):
        Classes(epochs=1).fit(x, np.zeros(20, dtype=int))


def test_training_that_diverges_is_an_error():
    x, _, number = planted(20)
    with pytest.raises(FloatingPointError, match="lower `learning_rate`"):
        Numbers(learning_rate=1e30, epochs=10, random_state=0).fit(x, number)


def test_the_network_covers_three_deviations():
    network = spline_network(4, 3)
    assert network.widths == (4, 9, 3)
    assert network.layers[0].coefficients.shape == (9, 4, 3)
    first: Any = network.layers[0]
    features = first.features(torch.full((1, 4), 2.9))
    assert features.sum().item() == pytest.approx(4)


def test_every_sample_is_in_one_batch_of_an_epoch():
    batches, model = [], nn.Linear(1, 1)

    def objective(x, y):
        batches.append(y.tolist())
        return model(x).sum() * 0

    options = {"epochs": 2, "batch_size": 3, "learning_rate": 0.1, "generator": drawn(0)}
    train(model, torch.zeros(7, 1), torch.arange(7), objective, **options)
    first, second = ([number for batch in half for number in batch] for half in (batches[:3], batches[3:]))
    assert [len(batch) for batch in batches] == [3, 3, 1] * 2
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
    assert not model.training
    assert model.weight.grad is None
