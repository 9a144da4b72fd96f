// As much of React as one component with one effect needs.

const cells = [];
let position = 0;
let cleanup = null;
let known = null;

export function useState(initial) {
  const place = position;
  cells[place] ??= {value: initial};
  return [cells[place].value, (value) => (cells[place].value = value)];
}

export function useEffect(effect, dependencies) {
  if (known !== null && dependencies.every((value, index) => value === known[index])) return;
  known = dependencies;
  cleanup = effect();
}

export const unmount = () => cleanup();
