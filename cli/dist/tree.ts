import type { ContentNode } from './image-content.js';
import { formatBytes } from './sizes.js';

const label = ({ mediaType, digest, size, present, platform, chainId }: ContentNode): string => {
  const facts = [formatBytes(size), ...(platform ? [platform] : []), ...(present ? [] : ['not here'])];
  const chain = chainId ? `, unpacks to ${chainId}` : '';
  return `${mediaType} ${digest} (${facts.join(', ')}${chain})`;
};

/** One line for each node, with branches. */
export function drawTree(root: ContentNode): string {
  const draw = (node: ContentNode, prefix: string): string =>
    node.children
      .map((child, index) => {
        const last = index === node.children.length - 1;
        const line = `${prefix}${last ? '└── ' : '├── '}${label(child)}\n`;
        return line + draw(child, `${prefix}${last ? '    ' : '│   '}`);
      })
      .join('');
  return `${label(root)}\n${draw(root, '')}`;
}
